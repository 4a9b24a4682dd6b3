import type { PoolClient } from 'pg';

import { type Applied, applyBatch, type Batch, parkBatch } from './apply-batch.ts';
import { faultByColumn } from './fault-by-column.ts';
import { faultOfData, mayYetFit } from './fault-of-data.ts';
import { type FoldedBatch, foldBatch } from './fold-batch.ts';
import type { ModuleProjection } from './module-projection.ts';
import type { Positions } from './positions.ts';

const nothing: Applied = { applied: 0, refused: 0, refusedBulk: 0, rejects: 0, waiting: 0 };

/**
 * Applies a batch, in parts where the order of its messages matters, so that it ends as any other cut of the log does.
 * @throws whatever is not the data's fault: the batch is to be retried, or the partition halted. Parts before it may be applied.
 */
export async function projectBatch(client: PoolClient, projection: ModuleProjection, batch: Batch): Promise<Applied> {
  let applied = nothing;
  for (let left = batch; ; ) {
    const folded = foldBatch(left.messages, projection.keepsDeleted ? undefined : projection.own.id);
    if (folded.cutAt === null) return sum(applied, await projectPart(client, projection, left, folded));
    const [part, rest] = cut(left, folded.cutAt);
    applied = sum(applied, await projectPart(client, projection, part, folded));
    left = rest;
  }
}

/**
 * Applies a part; where a message in it cannot be applied, parks that message and applies the rest. The culprit is found by
 * halving: Postgres alone is the judge of what fits a column, and a value is judged before it can win the fold.
 */
async function projectPart(client: PoolClient, projection: ModuleProjection, part: Batch, folded: FoldedBatch): Promise<Applied> {
  try {
    return await projection.onCurrentTable(client, () => applyBatch(client, projection, part, folded));
  } catch (error) {
    const fault = faultOfData(error);
    if (fault === null) throw error;
    const [message] = part.messages;
    if (part.messages.length === 1 && message !== undefined) {
      await parkBatch(client, projection, part, [{ message, ...(await faultByColumn(client, projection, message, fault)) }]);
      return { ...nothing, ...(mayYetFit(fault.code) ? { waiting: 1 } : { rejects: 1 }) };
    }
    const [first, second] = cut(part, part.messages.length >> 1);
    // A half may have to be cut where the whole had not to be: what came before it is not in it.
    return sum(await projectBatch(client, projection, first), await projectBatch(client, projection, second));
  }
}

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
