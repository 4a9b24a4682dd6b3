import { hash } from 'node:crypto';

import type { ModuleDefinition } from '@lockstep/modules';
import type { Coverage } from '@lockstep/record-log';

import { cellRule, timeStepMs } from './column-fit.ts';
import type { CellRules } from './copy-text.ts';
import type { DescribedColumn, DescribedTable } from './described-table.ts';
import { ProjectionError } from './errors.ts';
import { prepared, type Prepared } from './statements.ts';

/**
 * How winners of one coverage get into the legacy table: the columns that are written, in the order of the coverage. A mapped
 * field outside the coverage is not among them: an event makes no statement about it.
 */
export type WritePlan = {
  /** One entry per field of the coverage: whether a column receives it. */
  readonly keep: readonly boolean[];
  /** One entry per field of the coverage: the column that receives it. */
  readonly fieldColumns: readonly (string | undefined)[];
  /** One entry per field of the coverage: what its column holds unchanged. */
  readonly rules: CellRules;
  /** Key, modified time, deletion mark (if rows are marked), then the kept fields' columns. */
  readonly columns: readonly string[];
  readonly hasDeletedColumn: boolean;
  /** The least step of the two times that their columns keep, in milliseconds. */
  readonly modifiedStepMs: number;
  readonly deletedStepMs: number;
  /** Where winners are staged: a temporary table of the connection. */
  readonly stage: string;
  readonly createStage: string;
  readonly table: string;
  /** Stage → table, only where a mapped value differs. */
  readonly mergeStage: string;
  /** A row of the stage that does not stand in the table as it was staged, and its first column that differs: a trigger changed it. */
  readonly verifyStage: string;
  /** The same as `mergeStage`, from one array per column, for small batches; null where all are staged, as rows may not be proposed. */
  readonly mergeArrays: Prepared | null;
};

/** The plan for events of this coverage, by the table's own types. A field that is mapped no more is ignored. */
export function writePlan(module: ModuleDefinition, described: DescribedTable, coverage: Coverage): WritePlan {
  const { table: { schema, name }, keyColumn, modifiedTimeColumn, onDelete } = module;
  const byField = new Map(module.fields.map((mapping) => [mapping.field, mapping]));
  const byColumn = new Map(module.fields.map((mapping) => [mapping.column, mapping]));
  const mapped = coverage.fields.map((field) => byField.get(field));
  const deleted = onDelete.action === 'mark' ? [columnOf(described, onDelete.deletedColumn)] : [];
  const modified = columnOf(described, modifiedTimeColumn);
  const cells = mapped.map((mapping) => mapping && { mapping, column: columnOf(described, mapping.column) });
  const written = [columnOf(described, keyColumn), modified, ...deleted, ...cells.flatMap((cell) => cell?.column ?? [])];
  const table = `${quote(schema)}.${quote(name)}`;
  const list = written.map((column) => quote(column.name)).join(', ');
  const stage = `pg_temp."stage_${hash('sha256', JSON.stringify([table, described.shape, written.map((column) => [column.name, column.type, column.modifier])])).slice(0, 24)}"`;
  const covers = new Set(coverage.fields);
  const isWhole = module.fields.every(({ field }) => covers.has(field));
  const isWritten = new Set(written.map((column) => column.name));
  // A proposed row has the defaults of a new one: it would take numbers of a sequence, and columns that are computed from others would be computed from those.
  const othersAct = [...described.columns.values()].some((column) => column.isGenerated || (column.defaultActs && !isWritten.has(column.name)));
  const mayPropose = isWhole && described.triggers.length === 0 && described.foreignChecks.length === 0 && !described.hasDeferrableKeyIndex && !othersAct;
  const merge = { table, keyColumn, modifiedTimeColumn, columns: written.map((column) => column.name), mayPropose };
  return {
    keep: mapped.map((mapping) => mapping !== undefined),
    fieldColumns: mapped.map((mapping) => mapping?.column),
    rules: cells.map((cell) => cell && cellRule(cell.mapping, cell.column)),
    columns: merge.columns,
    hasDeletedColumn: onDelete.action === 'mark',
    modifiedStepMs: timeStepMs(modified),
    deletedStepMs: Math.max(1, ...deleted.map(timeStepMs)),
    stage,
    table,
    createStage: `create temp table if not exists ${stage} on commit delete rows as select ${list} from ${table} with no data`,
    mergeStage: mergeSql({ ...merge, select: `select ${list} from ${stage}` }),
    verifyStage: verifySql({ ...merge, columns: merge.columns.filter((name) => byColumn.get(name)?.onTriggerChange !== 'accept'), stage, join: 'left join' }),
    mergeArrays: mayPropose ? prepared(mergeSql({ ...merge, select: selectArrays(written) }), described.shape) : null,
  };
}

/**
 * The plan for what is left of a content: its fields alone are written, and only into rows that stand.
 * @param module with the fields that are left.
 */
export function restPlan(module: ModuleDefinition, described: DescribedTable, covered: Coverage): WritePlan {
  const plan = writePlan(module, described, covered);
  const { table, stage } = plan;
  const columns = module.fields.map(({ column }) => column);
  const compared = module.fields.filter(({ onTriggerChange }) => onTriggerChange !== 'accept').map(({ column }) => column);
  return {
    ...plan,
    mergeStage: updateSql({ table, keyColumn: module.keyColumn, columns, source: stage }),
    verifyStage: verifySql({ table, keyColumn: module.keyColumn, columns: compared, stage, join: 'join' }),
  };
}

/** @throws {ProjectionError} `TABLE_CHANGED` for a column that the table no longer has. */
export function columnOf({ columns }: DescribedTable, name: string): DescribedColumn {
  const column = columns.get(name);
  if (column === undefined) throw new ProjectionError(`column ${name} does not exist`, 'TABLE_CHANGED');
  return column;
}

/*
 * Rows are compared byte by byte (record_image_ops): `is distinct from` takes the first operator "=" on the search path, and finds no
 * difference between texts that a column's type or collation holds equal, such as `a` and `A` in citext.
 */
const differ = (one: string, other: string, columns: readonly string[]): string =>
  [one, other].map((of) => `row(${columns.map((column) => `${of}.${quote(column)}`).join(', ')})::record`).join(' operator(pg_catalog.*<>) ');

/** Rows of a newer version differ by their modified time at once, which costs less than to form two records of all columns. */
const differInTimeOr = (one: string, other: string, modifiedTimeColumn: string, columns: readonly string[]): string =>
  `(${[one, other].map((of) => `${of}.${quote(modifiedTimeColumn)}`).join(' operator(pg_catalog.<>) ')} or ${differ(one, other, columns)})`;

type Merge = { readonly table: string; readonly keyColumn: string; readonly columns: readonly string[] };

/**
 * @param mayPropose whether a row may be proposed by INSERT although one stands. Postgres holds what is proposed to NOT NULL and checks, and runs triggers for it: where
 * columns of the row that stands would be missing, or a trigger would see it, that one is updated instead.
 */
function mergeSql({ table, keyColumn, modifiedTimeColumn, columns, select, mayPropose }: Merge & { readonly modifiedTimeColumn: string; readonly select: string; readonly mayPropose: boolean }): string {
  const list = columns.map(quote).join(', ');
  const rest = columns.filter((column) => column !== keyColumn);
  if (!mayPropose) {
    // What stands is written first, and may give up what a new row takes: counting it is what holds the INSERT back.
    return `with given (${list}) as (${select}), standing as (${updateSql({ table, keyColumn, columns: rest, source: 'given', where: differInTimeOr('t', 's', modifiedTimeColumn, rest) })} returning 1)
      insert into ${table} (${list}) select ${list} from given s
      where not exists (select from ${table} t where ${isSame('t', 's', keyColumn)}) and (select pg_catalog.count(*) from standing) >= 0`;
  }
  return `insert into ${table} as t (${list}) ${select}
    on conflict (${quote(keyColumn)}) do update set ${rest.map((column) => `${quote(column)} = excluded.${quote(column)}`).join(', ')}
    where ${differInTimeOr('t', 'excluded', modifiedTimeColumn, rest)}`;
}

const updateSql = ({ table, keyColumn, columns, source, where = differ('t', 's', columns) }: Merge & { readonly source: string; readonly where?: string }): string =>
  `update ${table} t set ${columns.map((column) => `${quote(column)} = s.${quote(column)}`).join(', ')} from ${source} s where ${isSame('t', 's', keyColumn)} and ${where}`;

const isSame = (one: string, other: string, keyColumn: string): string => `${one}.${quote(keyColumn)} operator(pg_catalog.=) ${other}.${quote(keyColumn)}`;

/** Stage and table have the same types, so what differs by a byte was changed after it was written. */
function verifySql({ table, keyColumn, columns, stage, join }: Merge & { readonly stage: string; readonly join: 'join' | 'left join' }): string {
  const first = columns.length === 0 ? 'null' : `case ${columns.map((column) => `when ${differ('t', 's', [column])} then '${column}'`).join(' ')} end`;
  return `select ${first} as column from ${stage} s ${join} ${table} t on ${isSame('t', 's', keyColumn)} where ${columns.length === 0 ? 'false' : differ('t', 's', columns)} limit 1`;
}

/*
 * Each array is of the column's own type, so that its values pass the same input function as in COPY: an explicit cast from text would
 * cut a varchar or a domain over one silently, and a cast by another type would depend on the session's time zone.
 */
function selectArrays(written: readonly DescribedColumn[]): string {
  const values = written.map((_, i) => `v.c${i}`);
  return `select ${values.join(', ')} from ${unnest(written)} as v (${values.map((_, i) => `c${i}`).join(', ')})`;
}

/** Parameters, one array per column and of its type, side by side. */
export const unnest = (columns: readonly DescribedColumn[]): string =>
  `rows from (${columns.map(({ type }, i) => `pg_catalog.unnest($${i + 1}::${type}[])`).join(', ')})`;

const quote = (identifier: string): string => `"${identifier}"`;
