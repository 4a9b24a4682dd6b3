import { sqlState } from '@lockstep/postgres';
import type { PoolClient } from 'pg';

import { ProjectionError } from './errors.ts';
import { type Applied, applyBatch, type Batch, parkBatch } from './apply-batch.ts';
import type { Reject } from './fold-batch.ts';
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
      return { applied: 0, refused: 0, refusedBulk: 0, rejects: 1 };
    }
    const [first, second] = halves(batch);
    const [a, b] = [await projectBatch(client, projection, first), await projectBatch(client, projection, second)];
    return { applied: a.applied + b.applied, refused: a.refused + b.refused, refusedBulk: a.refusedBulk + b.refusedBulk, rejects: a.rejects + b.rejects };
  }
}

const parkable = new Set(['EVENT_FIELDS_MALFORMED', 'VALUE_NOT_STORABLE', 'COVERAGE_UNKNOWN']);

/** What is wrong with the data, or null when the error is not about data. Classes 22 and 23: data exceptions, constraints. */
function faultOfData(error: unknown): Omit<Reject, 'message'> | null {
  if (error instanceof ProjectionError) return parkable.has(error.code) ? { code: error.code, cause: error.message } : null;
  const code = sqlState(error);
  if (!(error instanceof Error) || !/^2[23]/.test(code)) return null;
  const column = 'where' in error && typeof error.where === 'string' ? /column "?(\w+)/.exec(error.where)?.[1] : undefined;
  return { code, cause: column === undefined ? error.message : `${column}: ${error.message}` };
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
