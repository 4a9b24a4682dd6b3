import type { PoolClient } from 'pg';

import { type Applied, applyBatch, type Batch, parkBatch } from './apply-batch.ts';
import { faultOfData, mayYetFit } from './fault-of-data.ts';
import type { ModuleProjection } from './module-projection.ts';
import type { Positions } from './positions.ts';

/**
 * Applies a batch; where a message in it cannot be applied, parks that message and applies the rest. The culprit is found by
 * halving: Postgres alone is the judge of what fits a column, and a value is judged before it can win the fold.
 * @throws whatever is not the data's fault: the batch is to be retried, or the partition halted.
 */
export async function projectBatch(client: PoolClient, projection: ModuleProjection, batch: Batch): Promise<Applied> {
  try {
    return await applyBatch(client, projection, batch);
  } catch (error) {
    const fault = faultOfData(error);
    if (fault === null) throw error;
    const [message] = batch.messages;
    if (batch.messages.length === 1 && message !== undefined) {
      await parkBatch(client, projection, batch, [{ message, ...fault }]);
      const isWaiting = mayYetFit(fault.code);
      return { applied: 0, refused: 0, refusedBulk: 0, rejects: isWaiting ? 0 : 1, waiting: isWaiting ? 1 : 0 };
    }
    const [first, second] = halves(batch);
    const [a, b] = [await projectBatch(client, projection, first), await projectBatch(client, projection, second)];
    return { applied: a.applied + b.applied, refused: a.refused + b.refused, refusedBulk: a.refusedBulk + b.refusedBulk, rejects: a.rejects + b.rejects, waiting: a.waiting + b.waiting };
  }
}

/** Cuts a batch in two; each half moves the positions past its own messages. */
function halves({ messages, positions, ...rest }: Batch): [Batch, Batch] {
  const middle = messages.length >> 1;
  const first = messages.slice(0, middle);
  const second = messages.slice(middle);
  const firstTo = new Map(first.map(({ partition, offset }) => [partition, offset + 1]));
  const inSecond = new Set(second.map(({ partition }) => partition));
  const firstPositions: Positions = new Map(
    [...positions].filter(([p]) => firstTo.has(p)).map(([p, { from, to }]) => [p, { from, to: inSecond.has(p) ? (firstTo.get(p) as number) : to }]),
  );
  const secondPositions: Positions = new Map(
    [...positions].filter(([p]) => inSecond.has(p)).map(([p, { from, to }]) => [p, { from: firstTo.get(p) ?? from, to }]),
  );
  return [
    { ...rest, messages: first, positions: firstPositions },
    { ...rest, messages: second, positions: secondPositions },
  ];
}
