import type { ModuleProjection } from '@lockstep/projection';

import { type LeftDifference, repair } from './repair.ts';
import { replayWhereEmpty } from './replay.ts';
import { inSnapshot, type Verification, type VerifyDeps, type VerifyOptions } from './verify-module.ts';

export type RebuildOptions = VerifyOptions & {
  /** Whether rows are removed whose key the log says nothing of; another application may have made them. */
  readonly isUnknownRemoved?: boolean;
};

/** How many messages were applied to an empty register, what was found first, what was written, and what was found last: the proof, where that is nothing. */
export type Rebuilt = {
  /** 0 where the projector had begun already. */
  readonly replayed: number;
  readonly before: Verification;
  readonly rows: number;
  readonly entries: number;
  readonly left: readonly LeftDifference[];
  readonly after: Verification;
};

// Each look folds the whole log. What is still different after some of them is written by someone else, or cannot be written.
const MOST_LOOKS = 4;

/**
 * Makes register and table what the log amounts to, by writing in place what differs, and looks again, until nothing does that could be written. The
 * projector goes on meanwhile. A table that is right gets no write. Where nothing was projected yet, the whole log is first.
 * @throws {RebuildError} see its codes.
 */
export async function rebuildModule(deps: VerifyDeps, projection: ModuleProjection, { isUnknownRemoved = false, ...options }: RebuildOptions = {}): Promise<Rebuilt> {
  const replayed = await replayWhereEmpty(deps, projection, options);
  let before: Verification | undefined;
  let [rows, entries] = [0, 0];
  let left: readonly LeftDifference[] = [];
  for (let look = 1; ; look += 1) {
    const client = await deps.pool.connect();
    try {
      await client.query('begin isolation level repeatable read');
      const { verification: after, shadow } = await inSnapshot(client, deps, projection, options);
      before ??= after;
      const isRight = Object.keys(after.counts).length === 0;
      if (isRight || look === MOST_LOOKS) return { replayed, before, rows, entries, left, after };
      await client.query('commit');
      const repaired = await repair(client, projection, shadow, { topicId: after.topicId, partitions: after.positions.length, isUnknownRemoved });
      rows += repaired.rows;
      entries += repaired.entries;
      left = repaired.left;
      if (repaired.rows + repaired.entries === 0) return { replayed, before, rows, entries, left, after };
    } finally {
      // The temporary tables go with the connection.
      client.release(true);
    }
  }
}
