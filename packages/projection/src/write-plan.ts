import type { ColumnType, ModuleDefinition } from '@lockstep/modules';
import type { Coverage } from '@lockstep/record-log';

import { prepared, type Prepared } from './statements.ts';

/**
 * How winners of one coverage get into the legacy table: the columns that are written, in the order of the coverage. A mapped
 * field outside the coverage is not among them: an event makes no statement about it.
 */
export type WritePlan = {
  /** One entry per field of the coverage: whether a column receives it. */
  readonly keep: readonly boolean[];
  /** Key, modified time, deletion mark (if rows are marked), then the kept fields' columns. */
  readonly columns: readonly string[];
  readonly hasDeletedColumn: boolean;
  /** Where winners are staged: a temporary table of the connection. */
  readonly stage: string;
  readonly createStage: string;
  readonly table: string;
  /** Stage → table, only where a mapped value differs. */
  readonly mergeStage: string;
  /** The same from arrays of text, one parameter per column: for small batches. */
  readonly mergeArrays: Prepared;
};

/** The plan for events of this coverage. A field that is mapped no more is passed over. */
export function writePlan(module: ModuleDefinition, coverage: Coverage): WritePlan {
  const { apiName, slug, table: { schema, name }, keyColumn, modifiedTimeColumn, onDelete } = module;
  const byField = new Map(module.fields.map((mapping) => [mapping.field, mapping]));
  const mapped = coverage.fields.map((field) => byField.get(field));
  const bookkeeping: Column[] = [
    { column: keyColumn, type: 'bigint' },
    { column: modifiedTimeColumn, type: 'timestamptz' },
    ...(onDelete.action === 'mark' ? [{ column: onDelete.deletedColumn, type: 'timestamptz' } as const] : []),
  ];
  const written: Column[] = [...bookkeeping, ...mapped.filter((mapping) => mapping !== undefined)];
  const columns = written.map(({ column }) => column);
  const table = `${quote(schema)}.${quote(name)}`;
  const stage = quote(`stage_${slug}_${coverage.id}`);
  const list = columns.map(quote).join(', ');
  if (mapped.every((mapping) => mapping === undefined)) throw new Error(`module ${apiName}: no field of coverage ${coverage.id} is mapped`);
  return {
    keep: mapped.map((mapping) => mapping !== undefined),
    columns,
    hasDeletedColumn: onDelete.action === 'mark',
    stage,
    table,
    createStage: `create temp table if not exists ${stage} on commit delete rows as select ${list} from ${table} with no data`,
    mergeStage: merge({ table, keyColumn, columns, select: `select ${list} from ${stage}` }),
    mergeArrays: prepared(merge({ table, keyColumn, columns, select: selectArrays(written) })),
  };
}

type Column = { readonly column: string; readonly type: ColumnType };

function merge({ table, keyColumn, columns, select }: { table: string; keyColumn: string; columns: readonly string[]; select: string }): string {
  const rest = columns.filter((column) => column !== keyColumn).map(quote);
  return `insert into ${table} as t (${columns.map(quote).join(', ')}) ${select}
    on conflict (${quote(keyColumn)}) do update set ${rest.map((column) => `${column} = excluded.${column}`).join(', ')}
    where (${rest.map((column) => `t.${column}`).join(', ')}) is distinct from (${rest.map((column) => `excluded.${column}`).join(', ')})`;
}

/*
 * Arrays arrive as text and are cast to the column's base type. The length of a varchar and the scale of a numeric are left to
 * the assignment: an explicit cast to varchar(n) would cut the value silently.
 */
function selectArrays(written: readonly Column[]): string {
  const values = written.map(({ type }, i) => `v.c${i}::${baseType(type)}`);
  return `select ${values.join(', ')} from unnest(${written.map((_, i) => `$${i + 1}::text[]`).join(', ')}) as v (${written.map((_, i) => `c${i}`).join(', ')})`;
}

const baseType = (type: ColumnType): string => (type.startsWith('varchar') ? 'text' : type.replace(/\(.*/, ''));

const quote = (identifier: string): string => `"${identifier}"`;
