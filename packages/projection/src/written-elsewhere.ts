import type { PoolClient } from 'pg';

import type { ModuleProjection } from './module-projection.ts';

/** Rows that the transaction has written so far: of the module's table, and of tables that are not ours. */
export type WrittenRows = { readonly own: number; readonly elsewhere: number };

/**
 * Counts what the transaction has written, what was rolled back included. What others than we wrote, triggers have.
 * @returns NaN, which equals nothing, where the server does not count (`track_counts`).
 */
export async function writtenRows(client: PoolClient, { module: { table: { schema, name } } }: ModuleProjection): Promise<WrittenRows> {
  const { rows: [row] } = await client.query<{ is_counted: boolean; own: string; elsewhere: string }>(
    `with t as (select format('%I.%I', $1::text, $2::text)::regclass as id),
     ours as (select id from t union select p.relid from t, pg_partition_tree(t.id) p),
     counted as (select s.relid in (select id from ours) as is_own, s.n_tup_ins + s.n_tup_upd + s.n_tup_del as n
       from pg_stat_xact_user_tables s where s.schemaname <> 'lockstep' and s.schemaname not like 'pg\\_temp%')
     select current_setting('track_counts')::boolean as is_counted, coalesce(sum(n) filter (where is_own), 0) as own, coalesce(sum(n) filter (where not is_own), 0) as elsewhere from counted`,
    [schema, name],
  );
  if (row?.is_counted !== true) return { own: Number.NaN, elsewhere: Number.NaN };
  return { own: Number(row.own), elsewhere: Number(row.elsewhere) };
}
