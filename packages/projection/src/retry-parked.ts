import { outdatedByParked, resolveOvertakenOf } from '@lockstep/postgres';
import type { PoolClient } from 'pg';

import { applyWaiting } from './apply-waiting.ts';
import { type Fault, fitsNeverIn } from './fault-of-data.ts';
import { foldBatch, type LogMessage } from './fold-batch.ts';
import type { ModuleProjection } from './module-projection.ts';
import { applyRests, passedAmong } from './parked-rest.ts';
import { readConstraints } from './unique-indexes.ts';
import type { WaitingContext } from './waiting-unit.ts';

/*
 * What conflicts with other rows waits in lockstep.parked and is tried again here, 2 s, 4 s, 8 s … up to half an hour after the last
 * try; what does not fit by itself, once mapping or table have changed. What waits of a module is tried in one transaction, because rows that swap a unique value are in each other's way; see
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
/** A row that another session has locked waits on; the others are not kept by it. */
const LOCK_TIMEOUT = '200ms';
/** What has to move with those joins them, up to about so many times as many. */
const MOST_TIMES = 4;

/**
 * Tries what waits of a module again, in one transaction, when some of it is due. Repeating it changes nothing; several processes may.
 * @param atOnce how many messages are tried in one transaction; what has to move with them joins them.
 * @throws whatever is not the data's fault; then nothing is written.
 */
export const retryParked = (client: PoolClient, projection: ModuleProjection, { atOnce = AT_ONCE }: { readonly atOnce?: number } = {}): Promise<Retried> =>
  projection.onCurrentTable(client, () => retryOnce(client, projection, atOnce));

async function retryOnce(client: PoolClient, projection: ModuleProjection, atOnce: number): Promise<Retried> {
  await client.query(`begin; set local lock_timeout = '${LOCK_TIMEOUT}'`);
  try {
    // One at a time: two would have messages of the same record in hand, and wait for each other.
    const { rows: [turn] } = await client.query<{ is_ours: boolean }>(`select pg_try_advisory_xact_lock(hashtext('lockstep.parked'), hashtext($1)) as is_ours`, [projection.module.apiName]);
    if (turn?.is_ours !== true) {
      await client.query('rollback');
      return { resolved: 0, waiting: 0 };
    }
    // What waits is written as the table is now: a key that cascades, or a trigger, may be new.
    projection.checkShape((await client.query(projection.shapeStatement)).rows);
    const locked = await lockWaiting(client, projection, atOnce);
    const { tried, outdated, passed, faults } = await tryWithNeeded(client, projection, locked, atOnce * MOST_TIMES);
    for (const [id, fault] of await applyRests(client, projection, passed)) faults.set(id, fault);
    await noteLeft(client, projection, faults);
    const applied = [...tried, ...passed].filter(({ id }) => !faults.has(id)).map(({ id }) => id);
    await client.query('update lockstep.parked set resolved_at = coalesce(resolved_at, now()), value = null where id = any($1)', [applied]);
    const left = await leaveOutdated(client, projection, outdated);
    await client.query('commit');
    return { resolved: locked.length - faults.size - left, waiting: faults.size + left };
  } catch (error) {
    await client.query('rollback');
    throw error;
  }
}

type Row = { id: string; record_id: string; partition: number; log_offset: string; value: Buffer };

const messageOf = ({ id, record_id: recordId, partition, log_offset, value }: Row): Message => ({ id, recordId, message: { partition, offset: Number(log_offset), value } });

const isDue = (alias: string): string => `${alias}.tried_at + least(2 ^ least(${alias}.tries + 1, 20), 1800) * interval '1 second' <= now()`;

/** Mapping or table (`$4`) are not what they were when it did not fit; of what an earlier build parked that is not known. */
const isJudgedByAnother = (alias: string): string => `(${alias}.judged_by <> $4)`;

/**
 * What waits, when some of it is due, and this process's mapping is the current one. Where more waits than is tried at once, what is due comes
 * first, and of that what was not tried for the longest time: what fits never takes no turn from the rest.
 */
async function lockWaiting(client: PoolClient, { module: { apiName }, fingerprint, judgedBy }: ModuleProjection, atOnce: number): Promise<Message[]> {
  const { rows } = await client.query<Row>(
    `select id, record_id, partition, log_offset, value from lockstep.parked p
     where module = $1 and (retryable or ${isJudgedByAnother('p')}) and value is not null and record_id is not null
       and exists (select from lockstep.mapping where module = $1 and fingerprint = $2)
       and exists (select from lockstep.parked d where d.module = $1 and d.value is not null and d.record_id is not null and (d.retryable and ${isDue('d')} or ${isJudgedByAnother('d')}))
     order by ${isDue('p')} or ${isJudgedByAnother('p')} desc, tried_at, id limit $3 for update skip locked`,
    [apiName, fingerprint, atOnce, judgedBy],
  );
  return rows.map(messageOf);
}

/** What waits of some records, beside what is locked already. */
async function lockWaitingOf(client: PoolClient, { module: { apiName } }: ModuleProjection, recordIds: readonly string[], locked: readonly Message[]): Promise<Message[]> {
  if (recordIds.length === 0) return [];
  const { rows } = await client.query<Row>(
    `select id, record_id, partition, log_offset, value from lockstep.parked
     where module = $1 and retryable and value is not null and record_id = any($2::text[]) and id <> all($3::bigint[]) order by id limit ${AT_ONCE} for update skip locked`,
    [apiName, recordIds, locked.map(({ id }) => id)],
  );
  return rows.map(messageOf);
}

type Tried = {
  readonly tried: readonly Message[];
  /** Not tried, as others show them to be outdated. */
  readonly outdated: readonly Message[];
  /** Not tried, as a newer content of a smaller coverage stands; see parked-rest.ts. */
  readonly passed: readonly Message[];
  readonly faults: Map<string, Fault>;
};

/**
 * Tries what is locked, and whatever else waits and has to move with it; that joins `locked`. Else the members of a ring would never meet where
 * more waits than is tried at once.
 */
async function tryWithNeeded(client: PoolClient, projection: ModuleProjection, locked: Message[], atMost: number): Promise<Tried> {
  let tried: Message[] = [];
  const outdated: Message[] = [];
  const passed: Message[] = [];
  const faults = new Map<string, Fault>();
  const concerned = new Set<string>();
  for (let next: readonly Message[] = locked; ; ) {
    const waiting = await withoutOvertaken(client, projection, next);
    const isOutdated = await outdatedIn(client, waiting);
    const fresh = waiting.filter(({ id }) => !isOutdated.has(id));
    outdated.push(...waiting.filter(({ id }) => isOutdated.has(id)));
    const again = tried.filter(({ id, recordId }) => faults.has(id) && concerned.has(recordId));
    const needed: WaitingContext['needed'] = [];
    const isPassed = await passedAmong(client, [...again, ...fresh]);
    const turn = [...again, ...fresh].filter(({ id }) => !isPassed.has(id));
    const found = await applyInTurns(client, projection, turn, needed);
    for (const { id } of again) faults.delete(id);
    for (const [id, fault] of found) faults.set(id, fault);
    passed.push(...[...again, ...fresh].filter(({ id }) => isPassed.has(id)));
    tried = [...tried, ...fresh].filter(({ id }) => !isPassed.has(id));
    next = locked.length < atMost ? await lockWaitingOf(client, projection, needed.map(({ other }) => other), locked) : [];
    locked.push(...next);
    const there = new Set([...next, ...tried.filter(({ id }) => faults.has(id))].map(({ recordId }) => recordId));
    const toMeet = needed.filter(({ other }) => there.has(other) && !concerned.has(other));
    if (toMeet.length === 0) break;
    for (const { other, by } of toMeet) for (const recordId of [other, ...by]) concerned.add(recordId);
  }
  return { tried, outdated, passed, faults };
}

/**
 * What the register has overtaken is not tried: a content to which the record did not return would win by its `Modified_Time`. What else is
 * parked of these records is judged too, before any of them is written: see parked-rest.ts.
 */
async function withoutOvertaken(client: PoolClient, { module: { apiName } }: ModuleProjection, locked: readonly Message[]): Promise<readonly Message[]> {
  if (locked.length === 0) return locked;
  const { rows } = await client.query<{ id: string; isOvertaken: boolean }>(resolveOvertakenOf, [apiName, locked.map(({ recordId }) => recordId)]);
  const overtaken = new Set(rows.filter(({ isOvertaken }) => isOvertaken).map(({ id }) => id));
  return locked.filter(({ id }) => !overtaken.has(id));
}

/** What another one that is parked shows to be outdated: it is tried only when nothing of that kind is parked any more. */
async function outdatedIn(client: PoolClient, waiting: readonly Message[]): Promise<ReadonlySet<string>> {
  if (waiting.length === 0) return new Set();
  const { rows } = await client.query<{ id: string }>(outdatedByParked, [waiting.map(({ id }) => id)]);
  return new Set(rows.map(({ id }) => id));
}

/** Resolves what the register has overtaken by now, and counts the rest as tried. @returns how much that is. */
async function leaveOutdated(client: PoolClient, projection: ModuleProjection, outdated: readonly Message[]): Promise<number> {
  const left = await withoutOvertaken(client, projection, outdated);
  if (left.length > 0) await client.query('update lockstep.parked set tries = tries + 1, tried_at = now(), judged_by = $2 where id = any($1)', [left.map(({ id }) => id), projection.judgedBy]);
  return left.length;
}

/** What may not be folded together, such as contents of two coverages of one record, is applied one after the other, as a batch would. */
async function applyInTurns(client: PoolClient, projection: ModuleProjection, waiting: readonly Message[], needed: WaitingContext['needed']): Promise<Map<string, Fault>> {
  const faults = new Map<string, Fault>();
  for (let left = waiting; left.length > 0; ) {
    const turn = new Set(firstTurn(left));
    for (const [id, fault] of await applyWhatFits(client, projection, [...turn], needed)) faults.set(id, fault);
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
async function applyWhatFits(client: PoolClient, projection: ModuleProjection, waiting: readonly Message[], needed: WaitingContext['needed']): Promise<Map<string, Fault>> {
  if (waiting.length === 0) return new Map();
  await client.query('set constraints all deferred');
  const context = { client, projection, needed, constraints: await readConstraints(client, projection.module) };
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

/** What is in the way now may be another thing than before; what the data itself is to blame for is tried again once mapping or table have changed. */
async function noteLeft(client: PoolClient, { judgedBy, table }: ModuleProjection, faults: ReadonlyMap<string, Fault>): Promise<void> {
  if (faults.size === 0) return;
  const found = [...faults.values()];
  await client.query(
    `update lockstep.parked p set tries = tries + 1, tried_at = now(), code = f.code, cause = f.cause, retryable = f.retryable, judged_by = $5
     from unnest($1::bigint[], $2::text[], $3::text[], $4::boolean[]) as f (id, code, cause, retryable) where p.id = f.id`,
    [[...faults.keys()], found.map(({ code }) => code), found.map(({ cause }) => cause), found.map((fault) => !fitsNeverIn(table, fault)), judgedBy],
  );
}

/**
 * Makes what is parked due at once, what is parked for good as well: the projector tries it within a second or two. Repeating it changes nothing.
 * @param ids of `lockstep.parked`; all that is open of the module by default.
 * @returns how many messages are tried, and how many cannot be, as their value was not kept (they are no events, or an earlier build parked them).
 */
export async function retryParkedNow(client: Pick<PoolClient, 'query'>, module: string, ids?: readonly string[]): Promise<{ readonly due: number; readonly withoutValue: number }> {
  const { rows: [counts] } = await client.query<{ due: number; withoutValue: number }>(
    `with chosen as (select id, value is not null and record_id is not null as is_due from lockstep.parked where module = $1 and (resolved_at is null or value is not null) and ($2::bigint[] is null or id = any($2))),
       made_due as (update lockstep.parked p set retryable = true, tries = 0, tried_at = to_timestamp(0) from chosen c where c.id = p.id and c.is_due)
     select count(*) filter (where is_due)::int as due, count(*) filter (where not is_due)::int as "withoutValue" from chosen`,
    [module, ids ?? null],
  );
  return counts ?? { due: 0, withoutValue: 0 };
}
