import { columnOf, type ModuleProjection } from '@lockstep/projection';
import type { PoolClient } from 'pg';

import type { Suspects } from './compare-digests.ts';
import { expectedRows, type ExpectedRows } from './expected-rows.ts';
import { areListed } from './fold-suspects.ts';
import { quote } from './quote.ts';
import type { Shadow } from './shadow.ts';

/** A value that is not what the log amounts to, as texts; null is NULL. The place is that of the message it should come from. */
export type WrongValue = { readonly column: string; readonly inTable: string | null; readonly byLog: string | null; readonly partition: number; readonly offset: number };

/** A record of which register or table are not what the log amounts to. */
export type Difference =
  | { readonly kind: 'row missing'; readonly id: string; readonly partition: number; readonly offset: number }
  /** The log says that the record was deleted, or (`isUnknown`) nothing of it at all: then another application may have made the row. */
  | { readonly kind: 'row too many'; readonly id: string; readonly isUnknown: boolean }
  | { readonly kind: 'row differs'; readonly id: string; readonly values: readonly WrongValue[] }
  | { readonly kind: 'register entry missing'; readonly id: string }
  | { readonly kind: 'register entry too many'; readonly id: string }
  | { readonly kind: 'register entry differs'; readonly id: string; readonly values: readonly Pick<WrongValue, 'column' | 'inTable' | 'byLog'>[] }
  /** The table as it is now cannot hold the content that the log ends with. */
  | { readonly kind: 'content does not fit'; readonly id: string; readonly partition: number; readonly offset: number; readonly cause: string };

export type DifferenceKind = Difference['kind'];

/** How many records there are of each kind, and the first of each by id. */
export type Differences = { readonly counts: Readonly<Partial<Record<DifferenceKind, number>>>; readonly found: readonly Difference[] };

/** What the log decides of an entry of `lockstep.record_version`, beside its id. */
export const REGISTER_COLUMNS = ['modified_ms', 'version_ms', 'observed_ms', 'content_hash', 'deleted_ms', 'listed_ms', 'log_partition', 'log_offset'];

/**
 * Compares register and table with their shadow, in the shadow's transaction, and leaves what differs in the temporary table `difference`
 * (kind, record_id, key: as the log spells it, layering, entry: the register's as it was seen).
 * @param options.atMost how many of each kind are named; all are counted.
 */
export async function findDifferences(client: PoolClient, projection: ModuleProjection, shadow: Shadow, { atMost, suspects }: { readonly atMost: number; readonly suspects: Suspects }): Promise<Differences> {
  const isSame = (one: string, other: string): string => `${one} operator(pg_catalog.=) ${other}`;
  const [inTable, inRegister] = areListed(suspects) ? [(alias: string): string => ` and exists (select from suspect_key k where ${isSame('k.key', alias)})`, 'where record_id in (select record_id from suspect_entry)'] : [() => '', ''];
  const { module: { apiName, keyColumn, table, slug }, keepsDeleted } = projection;
  const name = `${quote(table.schema)}.${quote(table.name)}`;
  const key = quote(keyColumn);
  const keyType = columnOf(projection.table, keyColumn).type;
  const register = `lockstep.record_version_${slug}`;
  // A row whose removal waits may have given up a unique value to another record.
  const isToStay = keepsDeleted ? '' : ` and not exists (select from lockstep.parked p where p.module = '${apiName}' and p.record_id = e." record_id"::pg_catalog.text and p.deleted_ms is not null and p.retryable and p.resolved_at is null)`;
  const layerings: ExpectedRows[] = [];
  for (const [index, layering] of shadow.layerings.entries()) layerings.push(await expectedRows(client, projection, index, layering));
  await client.query(`
    analyze shadow_content; analyze shadow_register;
    create temp table difference as
      select 'row missing' as kind, r.record_id, r.key, r.layering from shadow_register r where r.has_row and r.layering is not null and not exists (select from ${name} t where ${isSame(`t.${key}`, 'r.key')})
      union all select 'row too many', null, coalesce(r.key, t.${key}), null from ${name} t left join shadow_register r on ${isSame('r.key', `t.${key}`)}
        where t.${key} is not null${inTable(`t.${key}`)} and (r.key is null or not (r.has_row${keepsDeleted ? ' or r.modified_ms is null' : ''}))
      union all select case when s.record_id is null then 'register entry too many' when r.record_id is null then 'register entry missing' else 'register entry differs' end,
        coalesce(r.record_id, s.record_id), coalesce(r.record_id, s.record_id)::pg_catalog.text::${keyType}, null
        from (select * from ${register} ${inRegister}) r full join shadow_register s on r.record_id = s.record_id where (${entryOf('r')}) is distinct from (${entryOf('s')});
    ${layerings.map(({ sql, index, differs }) => `insert into difference select 'row differs', e." record_id", e." key", ${index} from (${sql}) e join ${name} t on ${isSame(`t.${key}`, 'e." key"')} where ${differs('t', 'e')}${isToStay};`).join('\n')}
    alter table difference add column entry text;
    update difference d set entry = row(${entryOf('r')})::text from ${register} r where r.record_id::pg_catalog.text = d.key::pg_catalog.text;
    create index on difference ((key::pg_catalog.text)); create index on shadow_register (key); create index on shadow_content (" partition", " offset"); analyze difference`);
  const { rows: counted } = await client.query<{ kind: DifferenceKind; count: string }>('select kind, count(*) from difference group by kind');
  const { rows: simple } = await client.query<SimpleRow>(
    `select kind, id, partition, "offset", is_unknown from (
       select d.kind, d.key::text as id, s.log_partition as partition, s.log_offset as "offset", s.record_id is null and not exists (select from lockstep.parked p where p.module = $2 and p.record_id = d.key::text) as is_unknown, row_number() over (partition by d.kind order by d.key) as at
       from difference d left join shadow_register s on ${isSame('s.key', 'd.key')} where d.kind not like '%differs') n where at <= $1 order by kind, at`,
    [atMost, projection.module.apiName],
  );
  const found: Difference[] = simple.map(simpleDifference);
  for (const { index, sql, compared } of layerings) {
    const { rows } = await client.query<ValueRow>(
      `select e." key"::text as id, e." partition" as partition, v.* from (select d.key from difference d where d.kind = 'row differs' and d.layering = ${index} order by d.key limit $1) d
         join (select " key", " partition", " offsets", ${compared.map(({ column }) => quote(column)).join(', ')} from (${sql}) w) e on ${isSame('e." key"', 'd.key')}
         join ${name} t on ${isSame(`t.${key}`, 'd.key')}
         cross join lateral (values ${compared.map(({ column, layer }) => `('${column}', t.${quote(column)}::text, e.${quote(column)}::text, e." offsets"[${layer + 1}], row(t.${quote(column)})::record operator(pg_catalog.*<>) row(e.${quote(column)})::record)`).join(', ')})
           as v ("column", "inTable", "byLog", "offset", is_wrong) where v.is_wrong`,
      [atMost],
    );
    for (const [id, values] of Map.groupBy(rows, (row) => row.id)) found.push({ kind: 'row differs', id, values: values.map(({ column, inTable, byLog, partition, offset }) => ({ column, inTable, byLog, partition, offset: Number(offset) })) });
  }
  const { rows: entries } = await client.query<ValueRow>(
    `select d.record_id::text as id, v.* from (select record_id from difference where kind = 'register entry differs' order by record_id limit $1) d
       join ${register} r on r.record_id = d.record_id join shadow_register s on s.record_id = d.record_id
       cross join lateral (values ${REGISTER_COLUMNS.map((column) => `('${column}', r.${column}::text, s.${column}::text)`).join(', ')}) as v ("column", "inTable", "byLog")
     where v."inTable" is distinct from v."byLog"`,
    [atMost],
  );
  for (const [id, values] of Map.groupBy(entries, (row) => row.id)) found.push({ kind: 'register entry differs', id, values: values.map(({ column, inTable, byLog }) => ({ column, inTable, byLog })) });
  const counts: Partial<Record<DifferenceKind, number>> = Object.fromEntries(counted.map(({ kind, count }) => [kind, Number(count)]));
  if (shadow.unfit.length > 0) counts['content does not fit'] = shadow.unfit.length;
  return { counts, found: [...found, ...shadow.unfit.slice(0, atMost)] };
}

/** What the log decides of an entry. */
export const entryOf = (alias: string): string => REGISTER_COLUMNS.map((column) => `${alias}.${column}`).join(', ');

type SimpleRow = { kind: Exclude<DifferenceKind, 'row differs' | 'register entry differs' | 'content does not fit'>; id: string; partition: number; offset: string; is_unknown: boolean };
type ValueRow = { id: string; column: string; inTable: string | null; byLog: string | null; partition: number; offset: string };

function simpleDifference({ kind, id, partition, offset, is_unknown: isUnknown }: SimpleRow): Difference {
  switch (kind) {
    case 'row missing':
      return { kind, id, partition, offset: Number(offset) };
    case 'row too many':
      return { kind, id, isUnknown };
    case 'register entry missing':
    case 'register entry too many':
      return { kind, id };
  }
}
