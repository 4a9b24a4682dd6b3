import type { ModuleDefinition } from '@lockstep/modules';
import type { PoolClient } from 'pg';

import { mergeRegister, writeDead, writeWinners } from './apply-batch.ts';
import { decide, type Decision } from './decide.ts';
import { type Fault, faultOfData, mayYetFit } from './fault-of-data.ts';
import { foldBatch, type LogMessage } from './fold-batch.ts';
import type { ModuleProjection } from './module-projection.ts';

/*
 * What conflicts with other rows waits in lockstep.parked and is tried again here, 2 s, 4 s, 8 s … up to half an hour after the last
 * try. All that waits of a module is tried together, because two rows that swap a unique value are each in the other's way:
 *
 *   fold → register → unique columns of the winners to NULL → winners, one by one → constraints checked
 *
 * What still does not fit is left out, and the rest is begun anew without it: nothing half done stays. A row keeps its place all the
 * while, with its foreign columns.
 */

/** What came of a try. */
export type Retried = {
  /** Messages that wait no more: applied, or overtaken by a newer one. */
  readonly resolved: number;
  readonly waiting: number;
};

/** A message that waits. */
type Waiting = { readonly id: string; readonly recordId: string; readonly message: LogMessage };
type Faults = Map<string, Fault>;

const AT_ONCE = 500;

/**
 * Tries what waits of a module again, in one transaction, when some of it is due. Repeating it changes nothing; several processes may.
 * @throws whatever is not the data's fault; then nothing is written.
 */
export async function retryParked(client: PoolClient, projection: ModuleProjection): Promise<Retried> {
  await client.query('begin');
  try {
    const waiting = await lockWaiting(client, projection);
    if (waiting.length > 0) await client.query('set constraints all deferred');
    const faults = await applyWhatFits(client, projection, waiting);
    const left = waiting.filter(({ recordId }) => faults.has(recordId));
    await noteLeft(client, left, faults);
    await client.query('update lockstep.parked set resolved_at = now(), value = null where id = any($1)', [waiting.filter(({ recordId }) => !faults.has(recordId)).map(({ id }) => id)]);
    await client.query('commit');
    return { resolved: waiting.length - left.length, waiting: left.length };
  } catch (error) {
    await client.query('rollback');
    throw error;
  }
}

type Row = { id: string; record_id: string; partition: number; log_offset: string; value: Buffer };

/** All that waits, when some of it is due, and this process's mapping is the current one. */
async function lockWaiting(client: PoolClient, { module: { apiName }, fingerprint }: ModuleProjection): Promise<Waiting[]> {
  const { rows } = await client.query<Row>(
    `select id, record_id, partition, log_offset, value from lockstep.parked
     where module = $1 and resolved_at is null and retryable and value is not null and record_id is not null
       and exists (select from lockstep.mapping where module = $1 and fingerprint = $2)
       and exists (select from lockstep.parked d where d.module = $1 and d.resolved_at is null and d.retryable and d.value is not null
         and d.parked_at + least(2 ^ least(d.tries + 1, 20), 1800) * interval '1 second' <= now())
     order by tries, id limit ${AT_ONCE} for update skip locked`,
    [apiName, fingerprint],
  );
  return rows.map(({ id, record_id: recordId, partition, log_offset, value }) => ({ id, recordId, message: { partition, offset: Number(log_offset), value } }));
}

/** Leaves applied what fits. @returns what does not, by record. */
async function applyWhatFits(client: PoolClient, projection: ModuleProjection, waiting: readonly Waiting[]): Promise<Faults> {
  const faults = await applyTogether(client, projection, waiting);
  // Where nothing fitted, a constraint that is checked at the end may have told of all what only one has done.
  const alone = [...Map.groupBy(waiting, ({ recordId }) => recordId)];
  if (faults.size < alone.length || alone.length === 1) return faults;
  for (const [recordId, ofRecord] of alone) if ((await applyTogether(client, projection, ofRecord)).size === 0) faults.delete(recordId);
  return faults;
}

async function applyTogether(client: PoolClient, projection: ModuleProjection, waiting: readonly Waiting[]): Promise<Faults> {
  const faults: Faults = new Map();
  for (let trying = waiting; trying.length > 0; trying = trying.filter(({ recordId }) => !faults.has(recordId))) {
    await client.query('savepoint together');
    const failed = await attempt(client, projection, trying);
    if (failed.size === 0) return faults;
    await client.query('rollback to savepoint together');
    for (const [recordId, fault] of failed) faults.set(recordId, fault);
  }
  return faults;
}

async function attempt(client: PoolClient, projection: ModuleProjection, waiting: readonly Waiting[]): Promise<Faults> {
  const decision = decide(await mergeRegister(client, projection, foldBatch(waiting.map(({ message }) => message))), projection);
  const faults: Faults = new Map();
  for (const dead of decision.dead) await guarded(client, dead.id, faults, () => writeDead(client, projection, [dead]));
  await releaseUniqueValues(client, projection, decision.winners);
  for (const winner of decision.winners) await guarded(client, winner.record.id, faults, () => writeWinners(client, projection, { winners: [winner], allFresh: false }));
  if (faults.size > 0) return faults;
  const late: Faults = new Map();
  await guarded(client, '', late, () => client.query('set constraints all immediate'));
  const fault = late.get('');
  if (fault === undefined) await client.query('set constraints all deferred');
  return fault === undefined ? faults : new Map(waiting.map(({ recordId }) => [recordId, fault]));
}

/** Does a part; if the data is at fault, that is noted and the part undone. */
async function guarded(client: PoolClient, recordId: string, faults: Faults, part: () => Promise<unknown>): Promise<void> {
  await client.query('savepoint part');
  try {
    await part();
  } catch (error) {
    const fault = faultOfData(error);
    if (fault === null) throw error;
    faults.set(recordId, fault);
    await client.query('rollback to savepoint part');
  }
  await client.query('release savepoint part');
}

/** Empties the unique columns that the winners are about to write, so that no winner is in another's way. */
async function releaseUniqueValues(client: PoolClient, projection: ModuleProjection, winners: Decision['winners']): Promise<void> {
  if (winners.length === 0) return;
  const unique = await nullableUniqueColumns(client, projection.module);
  for (const [coverage, group] of Map.groupBy(winners, ({ record }) => record.coverage)) {
    const { table, columns } = await projection.planFor(client, coverage);
    const released = columns.filter((column) => unique.has(column)).map((column) => `"${column}"`);
    if (released.length === 0) continue;
    await client.query(`update ${table} set ${released.map((column) => `${column} = null`).join(', ')} where "${projection.module.keyColumn}" = any($1)`, [group.map(({ record }) => record.id)]);
  }
}

/** Columns of the table's unique indexes that may be null, those in expressions among them. */
async function nullableUniqueColumns(client: PoolClient, { table: { schema, name } }: ModuleDefinition): Promise<Set<string>> {
  const { rows } = await client.query<{ name: string }>(
    `select distinct a.attname as name from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum > 0 and not a.attnotnull and a.attgenerated = ''
     where i.indrelid = format('%I.%I', $1::text, $2::text)::regclass and i.indisunique
       and (a.attnum = any(i.indkey) or exists (
         select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = i.indexrelid and d.refobjid = i.indrelid and d.refobjsubid = a.attnum))`,
    [schema, name],
  );
  return new Set(rows.map((row) => row.name));
}

/** What is in the way now may be another thing than before; what cannot fit ever is not tried again. */
async function noteLeft(client: PoolClient, left: readonly Waiting[], faults: Faults): Promise<void> {
  if (left.length === 0) return;
  const faultsOf = left.map(({ recordId }) => faults.get(recordId) as Fault);
  await client.query(
    `update lockstep.parked p set tries = tries + 1, parked_at = now(), code = f.code, cause = f.cause, retryable = f.retryable
     from unnest($1::bigint[], $2::text[], $3::text[], $4::boolean[]) as f (id, code, cause, retryable) where p.id = f.id`,
    [left.map(({ id }) => id), faultsOf.map(({ code }) => code), faultsOf.map(({ cause }) => cause), faultsOf.map(({ code }) => mayYetFit(code))],
  );
}
