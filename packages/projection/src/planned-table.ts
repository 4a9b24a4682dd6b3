import type { ModuleDefinition } from '@lockstep/modules';
import type { PoolClient } from 'pg';

import type { DescribedTable } from './described-table.ts';
import { describeColumns, describeTable } from './table-catalogue.ts';
import { declaredAs, judgeTable } from './table-faults.ts';

/** A column as a mapping declares it, where the table has none, or has one of another type. */
export type PlannedColumn = { readonly column: string; /** As psql shows it; null where there is no such column. */ readonly from: string | null; readonly to: string; /** The statement that makes it so. */ readonly ddl: string };

/** A table as a mapping wants it. */
export type PlannedTable = {
  /** With each column as it is declared where it is missing or is to get another type, else as it is; null where there is no table. */
  readonly table: DescribedTable | null;
  /** The columns that the table has now. */
  readonly existing: ReadonlySet<string>;
  readonly missing: readonly PlannedColumn[];
  readonly retyped: readonly PlannedColumn[];
  /** What can never work although the columns are as they are declared, each with its remedy. */
  readonly faults: readonly string[];
  readonly notes: readonly string[];
};

/**
 * Reads a module's table, and what it would be with its columns as the mapping declares them. Makes a temporary table, and drops it.
 * @param retyped columns whose declared type counts, where it is not the table's.
 */
export async function plannedTable(client: Pick<PoolClient, 'query'>, module: ModuleDefinition, retyped: ReadonlySet<string>): Promise<PlannedTable> {
  const table = await describeTable(client, module);
  if (table === null) return { table, existing: new Set(), missing: [], retyped: [], ...faultsOf(module, table) };
  const name = `${quote(module.table.schema)}.${quote(module.table.name)}`;
  const planned = declaredTypes(module).flatMap(({ column, type }): PlannedColumn[] => {
    const is = table.columns.get(column);
    if (is === undefined) return [{ column, from: null, to: type, ddl: `alter table ${name} add column ${quote(column)} ${type}` }];
    return retyped.has(column) && declaredAs(type) !== is.shown ? [{ column, from: is.shown, to: type, ddl: `alter table ${name} alter column ${quote(column)} type ${type}` }] : [];
  });
  const assumed = { ...table, columns: new Map([...table.columns, ...(await columnsAsDeclared(client, planned))]) };
  return {
    table: assumed,
    existing: new Set(table.columns.keys()),
    missing: planned.filter(({ from }) => from === null),
    retyped: planned.filter(({ from }) => from !== null),
    ...faultsOf(module, assumed),
  };
}

function faultsOf(module: ModuleDefinition, table: DescribedTable | null): Pick<PlannedTable, 'faults' | 'notes'> {
  const { faults, notes, cascades } = judgeTable(module, table);
  return { notes, faults: [...faults, ...cascades.map((name) => `${module.apiName} removes deleted rows, and ${name} has a foreign key that would cascade: use onDelete 'mark', or change the constraint`)] };
}

const declaredTypes = ({ keyColumn, modifiedTimeColumn, onDelete, fields }: ModuleDefinition): { readonly column: string; readonly type: string }[] => [
  { column: keyColumn, type: 'bigint' },
  { column: modifiedTimeColumn, type: 'timestamptz' },
  ...(onDelete.action === 'mark' ? [{ column: onDelete.deletedColumn, type: 'timestamptz' }] : []),
  ...fields,
];

/** Postgres says itself what a declared type is. */
async function columnsAsDeclared(client: Pick<PoolClient, 'query'>, planned: readonly PlannedColumn[]): Promise<DescribedTable['columns']> {
  if (planned.length === 0) return new Map();
  await client.query(`create temp table planned_columns (${planned.map(({ column, to }) => `${quote(column)} ${to}`).join(', ')})`);
  const { rows: [row] } = await client.query<{ oid: string }>(`select 'pg_temp.planned_columns'::regclass::oid::text as oid`);
  const columns = await describeColumns(client, row?.oid ?? '');
  await client.query('drop table pg_temp.planned_columns');
  return columns;
}

const quote = (identifier: string): string => `"${identifier}"`;
