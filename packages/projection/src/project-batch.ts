import type { PoolClient } from 'pg';

import { type Applied, applyBatch, type Batch, parkBatch, tryBatch } from './apply-batch.ts';
import { ProjectionError } from './errors.ts';
import { faultByColumn } from './fault-by-column.ts';
import { type Fault, faultOfData, fitsNeverIn } from './fault-of-data.ts';
import { type FoldedBatch, foldBatch, type LogMessage } from './fold-batch.ts';
import { heldUp } from './held-up.ts';
import type { ModuleProjection } from './module-projection.ts';
import type { Positions } from './positions.ts';

export type ProjectOptions = {
  /** How many of so many messages may be parked for good; where more do not fit, none of them is parked. All, by default. */
  readonly mostParked?: (messages: number) => number;
};

const nothing: Applied = { applied: 0, refused: 0, refusedBulk: 0, rejects: 0, waiting: 0 };
/** After a lock time-out, the parts of the batch wait no longer than this for a lock. */
const SHORT_LOCK_TIMEOUT = '100ms';

/**
 * Applies a batch, in parts where the order of its messages matters, so that it ends as any other cut of the log does. What does not fit, and rows that
 * another session has locked for longer than the connection's `lock_timeout`, are parked.
 * @throws {ProjectionError} `TOO_MANY_PARKED` where more does not fit than `mostParked` allows.
 * @throws whatever is not the data's fault: the batch is to be retried, or the partition halted. Parts before it may be applied.
 */
export async function projectBatch(client: PoolClient, projection: ModuleProjection, batch: Batch, options: ProjectOptions = {}): Promise<Applied> {
  const projecting: Projecting = { client, projection, batch, mostParked: options.mostParked, isJudged: false, lockTimeout: null };
  try {
    return await projectParts(projecting, batch);
  } finally {
    // A connection that broke is not used again.
    if (projecting.lockTimeout !== null) await setLockTimeout(client, projecting.lockTimeout).catch(() => undefined);
  }
}

/** A batch under way. */
type Projecting = {
  readonly client: PoolClient;
  readonly projection: ModuleProjection;
  readonly batch: Batch;
  readonly mostParked: ProjectOptions['mostParked'];
  /** Whether it is known that what does not fit may be parked. */
  isJudged: boolean;
  /** The connection's, where it was shortened. */
  lockTimeout: string | null;
};

async function projectParts(projecting: Projecting, batch: Batch): Promise<Applied> {
  let applied = nothing;
  for (const [part, folded] of partsOf(projecting.projection, batch)) applied = sum(applied, await projectPart(projecting, part, folded));
  return applied;
}

function* partsOf(projection: ModuleProjection, batch: Batch): Generator<[Batch, FoldedBatch]> {
  for (let left = batch; ; ) {
    const folded = foldBatch(left.messages, projection.keepsDeleted ? undefined : projection.own.id);
    if (folded.cutAt === null) return yield [left, folded];
    const [part, rest] = cut(left, folded.cutAt);
    yield [part, folded];
    left = rest;
  }
}

/**
 * Applies a part; where a message in it cannot be applied, parks that message and applies the rest. The culprit is found by
 * halving: Postgres alone is the judge of what fits a column, and a value is judged before it can win the fold.
 */
async function projectPart(projecting: Projecting, part: Batch, folded: FoldedBatch): Promise<Applied> {
  const { client, projection } = projecting;
  // The table may change while the culprit is looked for: then what it refused before is to be tried again.
  const { judgedBy } = projection;
  try {
    if (folded.rejects.length > 0) await judge(projecting, part);
    return await projection.onCurrentTable(client, () => applyBatch(client, projection, part, folded));
  } catch (error) {
    const fault = faultOfPart(error);
    if (fault === null) throw error;
    const [message] = part.messages;
    if (part.messages.length === 1 && message !== undefined) {
      const named = await faultByColumn(client, projection, message, fault);
      const isForGood = fitsNeverIn(projection.table, named);
      if (isForGood) await judge(projecting, part);
      await parkBatch(client, projection, part, [{ message, ...named }], judgedBy);
      return { ...nothing, ...(isForGood ? { rejects: 1 } : { waiting: 1 }) };
    }
    if (heldUp(error) !== null) await waitShorter(projecting);
    const [first, second] = cut(part, part.messages.length >> 1);
    // A half may have to be cut where the whole had not to be: what came before it is not in it.
    return sum(await projectParts(projecting, first), await projectParts(projecting, second));
  }
}

const faultOfPart = (error: unknown): Fault | null => faultOfData(error) ?? heldUp(error);

async function waitShorter(projecting: Projecting): Promise<void> {
  if (projecting.lockTimeout !== null) return;
  const { rows: [row] } = await projecting.client.query<{ standing: string }>(`select current_setting('lock_timeout') as standing`);
  projecting.lockTimeout = row?.standing ?? '0';
  await setLockTimeout(projecting.client, SHORT_LOCK_TIMEOUT);
}

const setLockTimeout = (client: PoolClient, to: string): Promise<unknown> => client.query(`select set_config('lock_timeout', $1, false)`, [to]);

/**
 * Before the first message of a batch is parked: whether what does not fit of the rest may be parked as well. The rest is tried, and undone.
 * @throws {ProjectionError} `TOO_MANY_PARKED`.
 */
async function judge(projecting: Projecting, part: Batch): Promise<void> {
  const { batch, mostParked } = projecting;
  if (mostParked === undefined || projecting.isJudged) return;
  const most = mostParked(batch.messages.length);
  const [, rest] = cut(batch, Math.max(0, batch.messages.indexOf(part.messages[0] as LogMessage)));
  const causes = new Map<string, number>();
  const count = await countUnfit(projecting, rest, most, causes);
  projecting.isJudged = true;
  if (count <= most) return;
  const [[cause, times] = ['', 0]] = [...causes].toSorted(([, a], [, b]) => b - a);
  const { module: { apiName } } = projecting.projection;
  throw new ProjectionError(`more than ${most} of ${batch.messages.length} messages of ${apiName} do not fit, ${times} of those seen as ${cause}; none of them is parked. The mapping and the table do not match`, 'TOO_MANY_PARKED');
}

/** Counts the messages that would be parked for good, up to one more than `most`. Nothing is written; coverages that are declared are known afterwards. */
async function countUnfit(projecting: Projecting, batch: Batch, most: number, causes: Map<string, number>): Promise<number> {
  const { client, projection } = projecting;
  let count = 0;
  for (const [part, folded] of partsOf(projection, { ...batch, positions: new Map() })) {
    if (count > most) return count;
    count += folded.rejects.length;
    for (const { code, cause } of folded.rejects) note(causes, { code, cause });
    try {
      await projection.onCurrentTable(client, () => tryBatch(client, projection, part, folded));
    } catch (error) {
      const fault = faultOfPart(error);
      if (fault === null) throw error;
      count -= folded.rejects.length;
      if (part.messages.length > 1) {
        const [first, second] = cut(part, part.messages.length >> 1);
        count += await countUnfit(projecting, first, most - count, causes);
        if (count <= most) count += await countUnfit(projecting, second, most - count, causes);
      } else if (fitsNeverIn(projection.table, fault)) {
        count += 1;
        note(causes, fault);
      }
    }
  }
  return count;
}

const note = (causes: Map<string, number>, { code, cause }: Fault): unknown => causes.set(`${code} ${cause}`, (causes.get(`${code} ${cause}`) ?? 0) + 1);

const sum = (a: Applied, b: Applied): Applied => ({
  applied: a.applied + b.applied,
  refused: a.refused + b.refused,
  refusedBulk: a.refusedBulk + b.refusedBulk,
  rejects: a.rejects + b.rejects,
  waiting: a.waiting + b.waiting,
});

/** Cuts a batch in two before a message; each part moves the positions past its own messages. */
function cut({ messages, positions, ...rest }: Batch, before: number): [Batch, Batch] {
  const first = messages.slice(0, before);
  const second = messages.slice(before);
  const firstTo = new Map(first.map(({ partition, offset }) => [partition, offset + 1]));
  const inSecond = new Set(second.map(({ partition }) => partition));
  const firstPositions: Positions = new Map(
    [...positions].filter(([p]) => firstTo.has(p)).map(([p, { from, to }]) => [p, { from, to: inSecond.has(p) ? (firstTo.get(p) as number) : to }]),
  );
  const secondPositions: Positions = new Map(
    [...positions].filter(([p]) => inSecond.has(p) || !firstTo.has(p)).map(([p, { from, to }]) => [p, { from: firstTo.get(p) ?? from, to }]),
  );
  return [
    { ...rest, messages: first, positions: firstPositions },
    { ...rest, messages: second, positions: secondPositions },
  ];
}
