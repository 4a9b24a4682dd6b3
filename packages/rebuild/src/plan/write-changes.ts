import { faultOrThrow, type ModuleProjection } from '@lockstep/projection';
import type { PoolClient } from 'pg';

import { RebuildError } from '../errors.ts';
import type { LeftDifference } from '../repair.ts';
import { quote } from '../quote.ts';
import { standsNowhere } from '../verify-module.ts';
import type { FieldRows } from './field-rows.ts';

/** Rows that were written, records that could not be, and those that changed since they were folded. */
export type WrittenFields = { readonly rows: number; readonly left: readonly LeftDifference[]; readonly moved: readonly string[] };

export type WriteOptions = {
  readonly topicId: string;
  readonly partition: number;
  /** The offset up to which the partition was folded, and what of {@link parkedDigest} was so then. */
  readonly end: number;
  readonly parked: string;
  readonly onWritten?: ((rows: number) => void) | undefined;
};

/** Rows a transaction: the projector waits for as long as one of them takes. */
const ROWS_AT_ONCE = 10_000;

/**
 * Writes what differs from a fold, in transactions of some rows each that hold the position of the partition. A record whose register entry is not of
 * the content that was folded is left alone.
 * @throws {RebuildError} `MAPPING_CHANGED`; whatever is not the data's fault.
 */
export async function writeChanges(client: PoolClient, projection: ModuleProjection, layerings: readonly FieldRows[], options: WriteOptions): Promise<WrittenFields> {
  const changes = await collectChanges(client, projection, layerings);
  let written: WrittenFields = { rows: 0, left: [], moved: [] };
  for (let from = 0; from < changes; from += ROWS_AT_ONCE) {
    const some = await writeSome(client, projection, layerings, options, from);
    if (some === 'moved') {
      const { rows } = await client.query<{ id: string }>('select record_id::text as id from pg_temp.field_change where n > $1', [from]);
      return { ...written, moved: [...written.moved, ...rows.map(({ id }) => id)] };
    }
    written = { rows: written.rows + some.rows, left: [...written.left, ...some.left], moved: [...written.moved, ...some.moved] };
    options.onWritten?.(some.rows);
  }
  return written;
}

/** The rows that differ as the table is now, in a temporary table. @returns how many. */
async function collectChanges(client: PoolClient, { module: { table, keyColumn } }: ModuleProjection, layerings: readonly FieldRows[]): Promise<number> {
  const name = `${quote(table.schema)}.${quote(table.name)}`;
  const columns = [...new Set(layerings.flatMap((of) => of.columns.map(({ column }) => column)))];
  if (columns.length === 0) return 0;
  await client.query(`drop table if exists pg_temp.field_change;
    create temp table field_change as select 0::bigint as n, 0::bigint as record_id, 0::bigint as log_offset, 0 as layering, t.${quote(keyColumn)} as " key", ${columns.map((column) => `t.${quote(column)}`).join(', ')} from ${name} t with no data`);
  let count = 0;
  for (const [index, { sql, columns: compared, differs, isNull }] of layerings.entries()) {
    if (compared.length === 0) continue;
    const list = compared.map(({ column }) => quote(column));
    const { rowCount } = await client.query(
      `insert into pg_temp.field_change (n, record_id, log_offset, layering, " key", ${list.join(', ')})
       select $1::bigint + row_number() over (), e." record_id", e." log_offset", ${index}, e." key", ${list.map((column) => `e.${column}`).join(', ')}
       from (${sql}) e join ${name} t on t.${quote(keyColumn)} operator(pg_catalog.=) e." key" where ${differs} and not ${isNull}`,
      [count],
    );
    count += rowCount ?? 0;
  }
  await client.query('create index on pg_temp.field_change (n); analyze pg_temp.field_change');
  return count;
}

type Range = { readonly from: number; readonly to: number };

async function writeSome(client: PoolClient, projection: ModuleProjection, layerings: readonly FieldRows[], { topicId, partition, end, parked }: WriteOptions, from: number): Promise<WrittenFields | 'moved'> {
  const { module: { apiName } } = projection;
  await client.query('begin');
  try {
    await client.query(`select pg_advisory_xact_lock(hashtext('lockstep.parked'), hashtext($1))`, [apiName]);
    await client.query('select from lockstep.projection_offset where topic_id = $1 and partition = $2 for update', [topicId, partition]);
    await checkUnchanged(client, projection);
    if ((await parkedDigest(client, topicId, partition, end)) !== parked) {
      await client.query('rollback');
      return 'moved';
    }
    // A few rows by their keys: a join that reads all of the table would be read once for each of these transactions.
    await client.query('set constraints all deferred; set local enable_hashjoin = off; set local enable_mergejoin = off');
    const written = await writeRange(client, projection, partition, layerings, { from, to: from + ROWS_AT_ONCE });
    await client.query('commit');
    return written;
  } catch (error) {
    await client.query('rollback');
    throw error;
  }
}

/** @throws {RebuildError} `MAPPING_CHANGED`; {@link ProjectionError} `TABLE_CHANGED`. */
async function checkUnchanged(client: PoolClient, projection: ModuleProjection): Promise<void> {
  const { module: { apiName } } = projection;
  projection.checkShape((await client.query(projection.shapeStatement)).rows);
  const { rows: [mapping] } = await client.query<{ fingerprint: string }>('select fingerprint from lockstep.mapping where module = $1', [apiName]);
  if (mapping?.fingerprint !== projection.fingerprint) throw new RebuildError(`another build made its mapping of ${apiName} the current one meanwhile: stop its projector, and apply again`, 'MAPPING_CHANGED');
}

/** Which messages before an offset stand nowhere: what is tried again successfully, or given up, changes what a fold amounts to. */
export async function parkedDigest(client: Pick<PoolClient, 'query'>, topicId: string, partition: number, end: number): Promise<string> {
  const { rows: [row] } = await client.query<{ digest: string | null }>(
    `select md5(string_agg(log_offset::text, ',' order by log_offset)) as digest from lockstep.parked where topic_id = $1 and partition = $2 and log_offset < $3 and ${standsNowhere}`,
    [topicId, partition, end],
  );
  return row?.digest ?? '';
}

/** Writes rows together, or each by itself where one of them cannot be written. */
async function writeRange(client: PoolClient, projection: ModuleProjection, partition: number, layerings: readonly FieldRows[], range: Range): Promise<WrittenFields> {
  await client.query('savepoint rows_in_hand');
  try {
    const rows = await write(client, projection, partition, layerings, range);
    const moved = await movedIn(client, projection, partition, range);
    await client.query('set constraints all immediate; set constraints all deferred; release savepoint rows_in_hand');
    return { rows, moved, left: [] };
  } catch (error) {
    const fault = faultOrThrow(error);
    await client.query('rollback to savepoint rows_in_hand; release savepoint rows_in_hand');
    if (range.to - range.from === 1) {
      const { rows: [one] } = await client.query<{ id: string }>('select record_id::text as id from pg_temp.field_change where n = $1', [range.to]);
      return { rows: 0, moved: [], left: one === undefined ? [] : [{ id: one.id, cause: fault.cause }] };
    }
    const half = range.from + ((range.to - range.from) >> 1);
    const first = await writeRange(client, projection, partition, layerings, { from: range.from, to: half });
    const second = await writeRange(client, projection, partition, layerings, { from: half, to: range.to });
    return { rows: first.rows + second.rows, left: [...first.left, ...second.left], moved: [...first.moved, ...second.moved] };
  }
}

async function write(client: PoolClient, { module: { table, keyColumn, slug } }: ModuleProjection, partition: number, layerings: readonly FieldRows[], { from, to }: Range): Promise<number> {
  let rows = 0;
  for (const [index, { columns, differs }] of layerings.entries()) {
    if (columns.length === 0) continue;
    const { rowCount } = await client.query(
      `update ${quote(table.schema)}.${quote(table.name)} t set ${columns.map(({ column }) => `${quote(column)} = e.${quote(column)}`).join(', ')}
       from pg_temp.field_change e join lockstep.record_version_${slug} r on r.record_id = e.record_id and r.log_partition = $3 and r.log_offset = e.log_offset
       where e.n > $1 and e.n <= $2 and e.layering = ${index} and t.${quote(keyColumn)} operator(pg_catalog.=) e." key" and ${differs}`,
      [from, to, partition],
    );
    rows += rowCount ?? 0;
  }
  return rows;
}

async function movedIn(client: PoolClient, { module: { slug } }: ModuleProjection, partition: number, { from, to }: Range): Promise<string[]> {
  const { rows } = await client.query<{ id: string }>(
    `select e.record_id::text as id from pg_temp.field_change e left join lockstep.record_version_${slug} r on r.record_id = e.record_id
     where e.n > $1 and e.n <= $2 and (r.log_partition, r.log_offset) is distinct from ($3::integer, e.log_offset)`,
    [from, to, partition],
  );
  return rows.map(({ id }) => id);
}
