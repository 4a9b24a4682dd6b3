import { type Restored, restoreClaims } from '@lockstep/claims';
import { readLog } from '@lockstep/kafka';
import { topicOf } from '@lockstep/modules';
import type { ModuleProjection } from '@lockstep/projection';

import { RebuildError } from './errors.ts';
import { lendClient } from './lend-client.ts';
import { noteVerification } from './note-verification.ts';
import { type LeftDifference, repair } from './repair.ts';
import { replayWhereEmpty } from './replay.ts';
import { inSnapshot, type Verification, type VerifyDeps, type VerifyOptions } from './verify-module.ts';

export type RebuildOptions = VerifyOptions & {
  /** Whether rows are removed whose key the log says nothing of; another application may have made them. */
  readonly isUnknownRemoved?: boolean;
  /** For how many milliseconds a partition's position is held, beside the statement in hand, before the projector has its turn; 100 by default. */
  readonly holdMs?: number;
};

/** What was known or learned of how far the CRM was read, how many messages were applied to an empty register, what was found first, what was written, and what was found last: the proof, where that is nothing. */
export type Rebuilt = {
  readonly claims: Exclude<Restored, { status: 'incomplete' }>;
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
 * projector goes on meanwhile. A table that is right gets no write. Where nothing was projected yet, the whole log is first; and where nothing is known of how
 * far the CRM was read, that comes from the log as well.
 * @throws {RebuildError} see its codes.
 */
export async function rebuildModule(deps: VerifyDeps, projection: ModuleProjection, options: RebuildOptions = {}): Promise<Rebuilt> {
  const rebuilt = await rebuild(deps, projection, options);
  await noteVerification(deps.pool, rebuilt.after);
  return rebuilt;
}

async function rebuild(deps: VerifyDeps, projection: ModuleProjection, { isUnknownRemoved = false, holdMs = 100, ...options }: RebuildOptions): Promise<Rebuilt> {
  const claims = await restoreClaims({ ...deps, db: deps }, projection.module, options.topic ?? topicOf(projection.module));
  if (claims.status === 'incomplete') throw new RebuildError(`${claims.problem}. What the log does not hold cannot be rebuilt`, 'LOG_INCOMPLETE');
  const { messages: replayed, expected } = await replayWhereEmpty(deps, projection, options);
  let before: Verification | undefined;
  let [rows, entries] = [0, 0];
  let left: readonly LeftDifference[] = [];
  for (let look = 1; ; look += 1) {
    const client = await lendClient(deps.pool);
    try {
      await client.query('begin isolation level repeatable read');
      const { verification: after, shadow } = await inSnapshot(client, deps, projection, options, look === 1 ? expected : undefined);
      before ??= after;
      const isRight = Object.keys(after.counts).length === 0;
      if (isRight || look === MOST_LOOKS) return { claims, replayed, before, rows, entries, left: isRight ? [] : left, after };
      await client.query('commit');
      if (isUnknownRemoved) checkCascades(projection);
      const spokenOf = isUnknownRemoved ? await spokenBehind(deps, after) : new Set<string>();
      const repaired = await repair(client, projection, shadow, { topicId: after.topicId, partitions: after.positions.length, isUnknownRemoved, spokenOf, holdMs });
      rows += repaired.rows;
      entries += repaired.entries;
      left = repaired.left;
      if (repaired.rows + repaired.entries === 0 && repaired.open <= repaired.left.length) return { claims, replayed, before, rows, entries, left, after };
    } finally {
      // The temporary tables go with the connection.
      client.release(true);
    }
  }
}

function checkCascades({ module, table: { cascades } }: ModuleProjection): void {
  if (cascades.length === 0) return;
  throw new RebuildError(`rows of ${cascades.join(', ')} would be removed or changed with rows of ${module.table.name} that the log says nothing of: remove those yourself, or rebuild without removing them`, 'CASCADING_FOREIGN_KEY');
}

/** The records of the messages behind those that were compared. */
async function spokenBehind({ kafka, admin }: VerifyDeps, { topic, positions }: Verification): Promise<Set<string>> {
  const compared = new Map(positions.map(({ partition, end }) => [partition, end]));
  const keys = new Set<string>();
  // A partition without a position, also one whose position was lost, was not compared at all.
  await readLog(kafka, topic, (await admin.topicOffsets(topic)).map(({ partition, high }) => ({ partition, from: compared.get(partition) ?? 0, end: high })), {
    onMessages: async (_, messages) => {
      for (const { key } of messages) if (key !== null) keys.add(key.toString());
    },
    onPartitionEnd: async () => undefined,
  });
  return keys;
}
