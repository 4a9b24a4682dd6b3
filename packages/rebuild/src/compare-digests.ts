import type { KafkaClient, PartitionSpan } from '@lockstep/kafka';
import { columnOf, type ModuleProjection } from '@lockstep/projection';
import type { PoolClient } from 'pg';

import { Coverages } from './coverages.ts';
import type { DigestSums } from './digest-sums.ts';
import { foldLog } from './fold-log.ts';
import type { IdHasher } from './id-hash.ts';
import { LogDigests } from './log-digests.ts';
import { OF_ENTRY, RowDigests } from './row-digests.ts';
import { readLines, subtractLines } from './standing-digests.ts';
import { ENTRY_COLUMNS } from './standing.ts';

/** The part of a log that is compared: up to the positions, without what stands nowhere. */
export type ComparedLog = {
  readonly kafka: KafkaClient;
  readonly topic: string;
  readonly positions: readonly PartitionSpan[];
  readonly skipped: ReadonlyMap<number, ReadonlySet<number>>;
  /** Awaited after each fetch, with how many messages that makes. */
  readonly onMessages: (messages: number) => Promise<void>;
};

/** The records that may differ, by the hash of their id; `share` is how many of all those are, 0 to 1. */
export type Suspects = { readonly share: number; readonly hasher: IdHasher; readonly includes: (idHash: number) => boolean };

/** What a comparison by digests leaves. */
export type Compared = { readonly messages: number; readonly records: number; readonly suspects: Suspects };

/** What a log amounts to, as sums of digests. */
export type ExpectedDigests = { readonly sums: DigestSums; readonly hasher: IdHasher; readonly messages: number; readonly records: number };

/**
 * Folds the log and reads table and register, each once and side by side, and keeps of both a sum of digests by buckets of records. Where the sums
 * agree, rows and entries do; a table that is right is compared without a temporary table, and in memory of one size.
 * @param known what the log amounts to up to the positions, where that is known from having loaded it.
 */
export async function compareDigests(client: PoolClient, projection: ModuleProjection, log: ComparedLog, known?: ExpectedDigests): Promise<Compared> {
  const digests = known === undefined ? new LogDigests(projection) : undefined;
  const { sums, hasher } = (known ?? digests) as Pick<ExpectedDigests, 'sums' | 'hasher'>;
  const ended = new AbortController();
  const reading = async (): Promise<void> => {
    await readLines(client, new RowDigests(projection, sums).query, subtractLines(sums, hasher, { hasMark: projection.keepsDeleted, isNumericKey: columnOf(projection.table, projection.module.keyColumn).base === 'numeric' }), ended.signal);
    await readLines(client, `select ${ENTRY_COLUMNS.join(', ')} from lockstep.record_version_${projection.module.slug}`, subtractLines(sums, hasher, { head: OF_ENTRY }), ended.signal);
  };
  // Where one ends early, so does the other.
  const ending = (error: unknown): never => {
    ended.abort();
    throw error;
  };
  const read = reading().catch(ending);
  const [{ messages, records }] = await Promise.all([known ?? addLog(digests as LogDigests, projection, log, ended.signal).catch(ending), read]);
  return { messages, records, suspects: { share: sums.settle(), hasher, includes: (idHash) => sums.isSuspect(idHash) } };
}

async function addLog(digests: LogDigests, projection: ModuleProjection, { kafka, topic, positions, skipped, onMessages }: ComparedLog, ended: AbortSignal): Promise<{ messages: number; records: number }> {
  const coverages = new Coverages(projection.module);
  let [messages, records] = [0, 0];
  await foldLog(kafka, topic, positions, {
    fold: {
      epsilonMs: projection.epsilonMs,
      keepsDeleted: projection.keepsDeleted,
      hasher: digests.hasher,
      covers: (newer, older) => coverages.covers(newer, older),
      onCoverage: (coverage, fields) => {
        coverages.declare(coverage, fields);
        digests.learn({ id: coverage, fields });
      },
      onContent: (table, slot, head, { value }) => void digests.note(table, slot, head, value as Buffer),
    },
    skipped,
    onMessages: async (_, count) => {
      ended.throwIfAborted();
      messages += count;
      await onMessages(messages);
    },
    onFolded: async (partition, folded) => {
      records += folded.size;
      for (let slot = 0; slot < folded.size; slot += 1) digests.add(partition, folded, slot);
    },
  });
  return { messages, records };
}
