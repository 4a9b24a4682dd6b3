import { outdatedAmong, resolveOvertakenOf } from '@lockstep/postgres';
import type { PoolClient } from 'pg';

import { applyWaiting } from './apply-waiting.ts';
import { type Fault, fitsNever } from './fault-of-data.ts';
import { foldBatch, type LogMessage } from './fold-batch.ts';
import type { ModuleProjection } from './module-projection.ts';
import { readConstraints } from './unique-indexes.ts';

/*
 * What conflicts with other rows waits in lockstep.parked and is tried again here, 2 s, 4 s, 8 s … up to half an hour after the last
 * try. All that waits of a module is tried in one transaction, because rows that swap a unique value are in each other's way; see
 * apply-waiting.ts. A row keeps its place all the while, with its foreign columns.
 */

/** Result of a try. */
export type Retried = {
  /** Messages that wait no more: applied, or overtaken by a newer version. */
  readonly resolved: number;
  readonly waiting: number;
};

/** A message that waits. */
type Message = { readonly id: string; readonly recordId: string; readonly message: LogMessage };

const AT_ONCE = 500;

/**
 * Tries what waits of a module again, in one transaction, when some of it is due. Repeating it changes nothing; several processes may.
 * @throws whatever is not the data's fault; then nothing is written.
 */
export const retryParked = (client: PoolClient, projection: ModuleProjection): Promise<Retried> => projection.onCurrentTable(client, () => retryOnce(client, projection));

async function retryOnce(client: PoolClient, projection: ModuleProjection): Promise<Retried> {
  await client.query('begin');
  try {
    const locked = await lockWaiting(client, projection);
    const waiting = await withoutOvertaken(client, locked);
    const outdated = await outdatedIn(client, waiting);
    const tried = waiting.filter(({ id }) => !outdated.has(id));
    const faults = await applyInTurns(client, projection, tried);
    await noteLeft(client, faults);
    const applied = tried.filter(({ id }) => !faults.has(id)).map(({ id }) => id);
    await client.query('update lockstep.parked set resolved_at = coalesce(resolved_at, now()), value = null where id = any($1)', [applied]);
    const left = await leaveOutdated(client, waiting.filter(({ id }) => outdated.has(id)));
    await client.query('commit');
    return { resolved: locked.length - faults.size - left, waiting: faults.size + left };
  } catch (error) {
    await client.query('rollback');
    throw error;
  }
}

type Row = { id: string; record_id: string; partition: number; log_offset: string; value: Buffer };

/** All that waits, when some of it is due, and this process's mapping is the current one. */
async function lockWaiting(client: PoolClient, { module: { apiName }, fingerprint }: ModuleProjection): Promise<Message[]> {
  const { rows } = await client.query<Row>(
    `select id, record_id, partition, log_offset, value from lockstep.parked
     where module = $1 and retryable and value is not null and record_id is not null
       and exists (select from lockstep.mapping where module = $1 and fingerprint = $2)
       and exists (select from lockstep.parked d where d.module = $1 and d.retryable and d.value is not null and d.record_id is not null
         and d.tried_at + least(2 ^ least(d.tries + 1, 20), 1800) * interval '1 second' <= now())
     order by tries, id limit ${AT_ONCE} for update skip locked`,
    [apiName, fingerprint],
  );
  return rows.map(({ id, record_id: recordId, partition, log_offset, value }) => ({ id, recordId, message: { partition, offset: Number(log_offset), value } }));
}

/** What the register has overtaken is not tried: a content to which the record did not return would win by its `Modified_Time`. */
async function withoutOvertaken(client: PoolClient, locked: readonly Message[]): Promise<readonly Message[]> {
  if (locked.length === 0) return locked;
  const { rows } = await client.query<{ id: string; isOvertaken: boolean }>(resolveOvertakenOf, [locked.map(({ id }) => id)]);
  const overtaken = new Set(rows.filter(({ isOvertaken }) => isOvertaken).map(({ id }) => id));
  return locked.filter(({ id }) => !overtaken.has(id));
}

/** What another one that waits shows to be outdated: it is tried only when nothing of that kind waits any more. */
async function outdatedIn(client: PoolClient, waiting: readonly Message[]): Promise<ReadonlySet<string>> {
  if (waiting.length < 2) return new Set();
  const { rows } = await client.query<{ id: string }>(outdatedAmong, [waiting.map(({ id }) => id)]);
  return new Set(rows.map(({ id }) => id));
}

/** Resolves what the register has overtaken by now, and counts the rest as tried. @returns how much that is. */
async function leaveOutdated(client: PoolClient, outdated: readonly Message[]): Promise<number> {
  const left = await withoutOvertaken(client, outdated);
  if (left.length > 0) await client.query('update lockstep.parked set tries = tries + 1, tried_at = now() where id = any($1)', [left.map(({ id }) => id)]);
  return left.length;
}

/** What may not be folded together, such as contents of two coverages of one record, is applied one after the other, as a batch would. */
async function applyInTurns(client: PoolClient, projection: ModuleProjection, waiting: readonly Message[]): Promise<Map<string, Fault>> {
  const faults = new Map<string, Fault>();
  for (let left = waiting; left.length > 0; ) {
    const turn = new Set(firstTurn(left));
    for (const [id, fault] of await applyWhatFits(client, projection, [...turn])) faults.set(id, fault);
    left = left.filter((message) => !turn.has(message));
  }
  return faults;
}

/** Of each record what may be folded together, in the order of the log. */
const firstTurn = (waiting: readonly Message[]): Message[] =>
  [...Map.groupBy(waiting, ({ recordId }) => recordId).values()].flatMap((ofRecord) => {
    const inOrder = ofRecord.toSorted((a, b) => a.message.offset - b.message.offset);
    return inOrder.slice(0, foldBatch(inOrder.map(({ message }) => message)).cutAt ?? inOrder.length);
  });

/** Leaves applied what fits. @returns what does not, by the id of the message. */
async function applyWhatFits(client: PoolClient, projection: ModuleProjection, waiting: readonly Message[]): Promise<Map<string, Fault>> {
  if (waiting.length === 0) return new Map();
  await client.query('set constraints all deferred');
  const context = { client, projection, constraints: await readConstraints(client, projection.module) };
  const folded = [...Map.groupBy(waiting, ({ recordId }) => recordId)].map(([recordId, parts]) => ({ recordId, parts, messages: parts.map(({ message }) => message) }));
  const left = await applyWaiting(context, folded);
  const faults = new Map<string, Fault>();
  for (const [{ recordId, parts }, fault] of left) {
    for (const { id } of parts) faults.set(id, fault);
    // Where the newest of a record does not fit, an older one may: each is judged by itself, as in a batch.
    for (const { id, message } of parts.length === 1 ? [] : parts) {
      const alone = await applyWaiting(context, [{ recordId, messages: [message] }]);
      const [ownFault] = alone.values();
      if (ownFault === undefined) faults.delete(id);
      else faults.set(id, ownFault);
    }
  }
  return faults;
}

/** What is in the way now may be another thing than before; what cannot fit ever is not tried again, and its value is not kept. */
async function noteLeft(client: PoolClient, faults: ReadonlyMap<string, Fault>): Promise<void> {
  if (faults.size === 0) return;
  const codes = [...faults.values()].map(({ code }) => code);
  await client.query(
    `update lockstep.parked p set tries = tries + 1, tried_at = now(), code = f.code, cause = f.cause, retryable = f.retryable, value = case when f.retryable then value end
     from unnest($1::bigint[], $2::text[], $3::text[], $4::boolean[]) as f (id, code, cause, retryable) where p.id = f.id`,
    [[...faults.keys()], codes, [...faults.values()].map(({ cause }) => cause), codes.map((code) => !fitsNever(code))],
  );
}
