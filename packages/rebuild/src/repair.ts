import { partitionOf } from '@lockstep/kafka';
import { columnOf, faultOrThrow, type ModuleProjection } from '@lockstep/projection';
import { crashPoint } from '@lockstep/telemetry';
import type { PoolClient } from 'pg';

import { entryOf, REGISTER_COLUMNS } from './differences.ts';
import { RebuildError } from './errors.ts';
import { expectedRows } from './expected-rows.ts';
import { quote } from './quote.ts';
import type { Shadow } from './shadow.ts';

/** A record that could not be made right, and why. */
export type LeftDifference = { readonly id: string; readonly cause: string };

/** What a transaction has written. */
type Written = Omit<Repaired, 'open'>;

/** Rows and register entries that were written or removed, the records that were left as they are, and how many may be written at all. */
export type Repaired = { readonly rows: number; readonly entries: number; readonly left: readonly LeftDifference[]; readonly open: number };

export type RepairOptions = {
  readonly topicId: string;
  readonly partitions: number;
  /** Whether rows that the log says nothing of are removed: another application may have made them. */
  readonly isUnknownRemoved: boolean;
  /** Records that the log speaks of behind what was compared. */
  readonly spokenOf: ReadonlySet<string>;
  /** For how many milliseconds a position is held before the projector has its turn. */
  readonly holdMs: number;
};

/** Records of a partition that are written by one statement. */
const AT_ONCE = 500;

/**
 * Writes what `difference` names, partition by partition, each in a transaction that holds the partition's position, so that the projector and its
 * retries wait; then, together, the records that were in each other's way. What changed in the register since the difference was found is left for
 * the next look.
 * @throws {RebuildError} `MAPPING_CHANGED`; whatever is not the data's fault.
 */
export async function repair(client: PoolClient, projection: ModuleProjection, shadow: Shadow, options: RepairOptions): Promise<Repaired> {
  // A row that is to stay is none to be written, also where the register's entry of its key is.
  await client.query(
    `delete from difference d where d.kind = 'row too many' and not exists (select from shadow_register s where s.key operator(pg_catalog.=) d.key)
       and not ($1 and d.key::text <> all($3::text[]) and not exists (select from lockstep.parked p where p.module = $2 and p.record_id = d.key::text))`,
    [options.isUnknownRemoved, projection.module.apiName, [...options.spokenOf]],
  );
  const { rows } = await client.query<{ key: string }>('select distinct key::text as key from difference');
  crashPoint('differences-found');
  let sum: Written = { rows: 0, entries: 0, left: [] };
  for (const [partition, keys] of Map.groupBy(rows, ({ key }) => partitionOf(key, options.partitions))) {
    const { rows: written, entries, left } = await repairPartition(client, projection, shadow, { ...options, partition, keys: keys.map(({ key }) => key) });
    sum = { rows: sum.rows + written, entries: sum.entries + entries, left: [...sum.left, ...left] };
  }
  // What was in each other's way, also across partitions.
  while (sum.left.length > 0) {
    const again = await repairPartition(client, projection, shadow, { ...options, partition: null, keys: sum.left.map(({ id }) => id) });
    sum = { rows: sum.rows + again.rows, entries: sum.entries + again.entries, left: again.left };
    if (again.rows + again.entries === 0) break;
  }
  return { ...sum, open: rows.length };
}

type InPartition = RepairOptions & { readonly partition: number | null; readonly keys: readonly string[] };

/**
 * Writes records together, or in halves where one of them cannot be written. The position is let go of, and taken again, whenever it was held for
 * long enough: the projector waits no longer than that, and for the statement in hand.
 */
async function repairPartition(client: PoolClient, projection: ModuleProjection, shadow: Shadow, options: InPartition): Promise<Written> {
  const groups = grouped(options.keys, options.partition === null ? options.keys.length : AT_ONCE);
  let sum: Written = { rows: 0, entries: 0, left: [] };
  while (groups.length > 0) {
    sum = await holding(client, projection, options, async () => {
      let written = sum;
      for (const heldUntil = performance.now() + options.holdMs; groups.length > 0; ) {
        const group = groups.shift() as readonly string[];
        const one = await repairTogether(client, projection, shadow, group);
        if (one === null) groups.unshift(group.slice(0, group.length >> 1), group.slice(group.length >> 1));
        else written = { rows: written.rows + one.rows, entries: written.entries + one.entries, left: [...written.left, ...one.left] };
        if (performance.now() >= heldUntil) break;
      }
      return written;
    });
  }
  return sum;
}

const grouped = (keys: readonly string[], size: number): (readonly string[])[] => Array.from({ length: Math.ceil(keys.length / size) }, (_, at) => keys.slice(at * size, (at + 1) * size));

/** Does work in a transaction that holds the position of a partition, or of all. */
async function holding<T>(client: PoolClient, projection: ModuleProjection, { topicId, partition }: Pick<InPartition, 'topicId' | 'partition'>, work: () => Promise<T>): Promise<T> {
  const { module, fingerprint } = projection;
  await client.query('begin');
  try {
    await client.query(`select pg_advisory_xact_lock(hashtext('lockstep.parked'), hashtext($1))`, [module.apiName]);
    await client.query('select from lockstep.projection_offset where topic_id = $1 and ($2::int is null or partition = $2) order by partition for update', [topicId, partition]);
    const { rows: [mapping] } = await client.query<{ fingerprint: string }>('select fingerprint from lockstep.mapping where module = $1', [module.apiName]);
    if (mapping?.fingerprint !== fingerprint) throw new RebuildError(`the mapping of ${module.apiName} was changed meanwhile`, 'MAPPING_CHANGED');
    projection.checkShape((await client.query(projection.shapeStatement)).rows);
    await client.query('set constraints all deferred');
    const result = await work();
    crashPoint('differences-written');
    await client.query('commit');
    return result;
  } catch (error) {
    await client.query('rollback');
    throw error;
  }
}

/** @returns null where one of several records cannot be written: then none was. */
async function repairTogether(client: PoolClient, projection: ModuleProjection, shadow: Shadow, keys: readonly string[]): Promise<Written | null> {
  await client.query('savepoint records');
  try {
    const written = await write(client, projection, shadow, keys);
    await client.query('set constraints all immediate; set constraints all deferred; release savepoint records');
    return { ...written, left: [] };
  } catch (error) {
    const fault = faultOrThrow(error);
    await client.query('rollback to savepoint records; release savepoint records');
    const [only] = keys;
    return keys.length === 1 && only !== undefined ? { rows: 0, entries: 0, left: [{ id: only, cause: fault.cause }] } : null;
  }
}

async function write(client: PoolClient, projection: ModuleProjection, shadow: Shadow, keys: readonly string[]): Promise<{ rows: number; entries: number }> {
  const { module: { apiName, slug, table, keyColumn } } = projection;
  const name = `${quote(table.schema)}.${quote(table.name)}`;
  const register = `lockstep.record_version_${slug}`;
  const key = quote(keyColumn);
  const { base } = columnOf(projection.table, keyColumn);
  // An entry that was changed since is left to the next look, which sees the change as well.
  const standing = `(select d.* from difference d left join ${register} r on r.record_id::pg_catalog.text = d.key::pg_catalog.text where d.key::pg_catalog.text = any($1::text[]) and d.entry is not distinct from case when r.record_id is not null then row(${entryOf('r')})::text end)`;
  const run = async (text: string): Promise<number> => (await client.query(text, [keys])).rowCount ?? 0;
  let rows = await run(`delete from ${name} t using ${standing} d where d.kind = 'row too many' and t.${key} operator(pg_catalog.=) d.key`);
  for (const [index, layering] of shadow.layerings.entries()) {
    const { sql, written, differs } = await expectedRows(client, projection, index, layering);
    const columns = written.map(({ column }) => quote(column));
    const rest = columns.filter((column) => column !== key);
    const expected = `(select w.* from (${sql}) w join ${standing} d on d.key operator(pg_catalog.=) w." key" and d.kind =`;
    const differing = `${expected} 'row differs') e where t.${key} operator(pg_catalog.=) e.${key} and`;
    // Writing a key needs rights and fires triggers of its own, so it is written only where it is spelled otherwise.
    const isRespelled = base !== 'int8' && (await run(`select from ${name} t, ${differing} row(t.${key})::record operator(pg_catalog.*<>) row(e.${key})::record limit 1`)) > 0;
    rows += await run(`update ${name} t set ${(isRespelled ? columns : rest).map((column) => `${column} = e.${column}`).join(', ')} from ${differing} ${differs('t', 'e')}`);
    rows += await run(`insert into ${name} (${columns.join(', ')}) select ${columns.map((column) => `e.${column}`).join(', ')} from ${expected} 'row missing') e where not exists (select from ${name} t where t.${key} operator(pg_catalog.=) e.${key})`);
  }
  let entries = await run(`delete from ${register} r using ${standing} d where d.kind = 'register entry too many' and r.record_id = d.record_id`);
  const list = ['record_id', ...REGISTER_COLUMNS];
  entries += await run(`insert into ${register} (module, ${list.join(', ')}) select '${apiName}', ${list.map((column) => `s.${column}`).join(', ')}
    from shadow_register s join ${standing} d on d.record_id = s.record_id and d.kind in ('register entry missing', 'register entry differs')
    on conflict (record_id) do update set ${REGISTER_COLUMNS.map((column) => `${column} = excluded.${column}`).join(', ')}`);
  return { rows, entries };
}
