import type { ModuleProjection } from '@lockstep/projection';
import type { PoolClient } from 'pg';

import type { WrongValue } from '../differences.ts';
import { quote } from '../quote.ts';
import type { UnfitContent } from './field-fold.ts';
import type { FieldRows } from './field-rows.ts';

/** A row that would change, and what in it; `byLog` is what would stand. */
export type ChangedRow = { readonly id: string; readonly values: readonly WrongValue[] };

/** Rows of a partition that would change, how many values of each column, and values that may not be null. */
export type FieldChanges = { readonly rows: number; readonly columns: Readonly<Record<string, number>>; readonly found: readonly ChangedRow[]; readonly unfit: readonly UnfitContent[] };

/** Compares the rows of a partition with their fold, and changes nothing. @param atMost how many rows are named, by id. */
export async function countChanges(client: PoolClient, { module: { table, keyColumn } }: ModuleProjection, partition: number, layerings: readonly FieldRows[], atMost: number): Promise<FieldChanges> {
  const name = `${quote(table.schema)}.${quote(table.name)}`;
  let rows = 0;
  const columns: Record<string, number> = {};
  const found: ChangedRow[] = [];
  const unfit: UnfitContent[] = [];
  for (const of of layerings) {
    if (of.columns.length === 0) continue;
    const joined = `(${of.sql}) e join ${name} t on t.${quote(keyColumn)} operator(pg_catalog.=) e." key"`;
    const { rows: [counts] } = await client.query<Record<string, string>>(
      `select count(*) as " rows", ${of.columns.map(({ column, differs }) => `count(*) filter (where ${differs}) as ${quote(column)}`).join(', ')} from ${joined} where ${of.differs} and not ${of.isNull}`,
    );
    for (const [column, count] of Object.entries(counts ?? {})) {
      if (column === ' rows') rows += Number(count);
      else columns[column] = (columns[column] ?? 0) + Number(count);
    }
    if (of.isNull !== 'false') unfit.push(...(await nullsIn(client, partition, of, joined)));
    if (Number(counts?.[' rows']) === 0 || atMost === 0) continue;
    found.push(...(await named(client, partition, of, joined, atMost)));
  }
  return { rows, columns, found, unfit };
}

async function nullsIn(client: PoolClient, partition: number, { isNull }: FieldRows, joined: string): Promise<UnfitContent[]> {
  const { rows } = await client.query<{ id: string; offset: string }>(`select e." key"::text as id, e." offsets"[1] as "offset" from ${joined} where ${isNull}`);
  return rows.map(({ id, offset }) => ({ id, partition, offset: Number(offset), cause: 'a column that may not be null would be' }));
}

type Row = { id: string; column: string; inTable: string | null; byLog: string | null; offset: string };

async function named(client: PoolClient, partition: number, { columns, differs, isNull }: FieldRows, joined: string, atMost: number): Promise<ChangedRow[]> {
  const values = columns.map(({ column, layer, standing, differs: is }) => `('${column}', ${standing}, e.${quote(column)}::text, e." offsets"[${layer + 1}], ${is})`);
  const { rows } = await client.query<Row>(
    `with changed as materialized (select e." key" as key, row_number() over (order by e." key") as at, v.* from ${joined}
       cross join lateral (select array_agg(w) as of from (values ${values.join(', ')}) as w ("column", "inTable", "byLog", "offset", is_wrong) where w.is_wrong) v
       where ${differs} and not ${isNull} order by e." key" limit $1)
     select c.key::text as id, w."column", w."inTable", w."byLog", w."offset" from changed c cross join lateral unnest(c.of) as w ("column" text, "inTable" text, "byLog" text, "offset" bigint, is_wrong boolean) order by c.at`,
    [atMost],
  );
  return [...Map.groupBy(rows, ({ id }) => id)].map(([id, of]) => ({ id, values: of.map(({ column, inTable, byLog, offset }) => ({ column, inTable, byLog, partition, offset: Number(offset) })) }));
}
