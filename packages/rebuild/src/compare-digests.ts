import { randomInt } from 'node:crypto';

import type { KafkaClient, PartitionSpan } from '@lockstep/kafka';
import type { ModuleProjection } from '@lockstep/projection';
import type { PoolClient } from 'pg';

import { Coverages } from './coverages.ts';
import { DigestSums } from './digest-sums.ts';
import { foldLog } from './fold-log.ts';
import { type IdHasher, idHasher } from './id-hash.ts';
import { type RecordTable, UNFIT_FOR_DIGEST } from './record-table.ts';
import { OF_ENTRY, RowDigests } from './row-digests.ts';
import { readLines, subtractLines } from './standing-digests.ts';
import { ENTRY_COLUMNS, MOST_ENTRY_BYTES, standingOf, writeEntry } from './standing.ts';

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

/**
 * Folds the log and reads table and register, each once and side by side, and keeps of both a sum of digests by buckets of records. Where the sums
 * agree, rows and entries do; a table that is right is compared without a temporary table, and in memory of one size.
 */
export async function compareDigests(client: PoolClient, projection: ModuleProjection, log: ComparedLog): Promise<Compared> {
  const sums = new DigestSums();
  const hasher = idHasher(randomInt(2 ** 32));
  const rows = new RowDigests(projection, sums);
  const [folded] = await Promise.all([
    addLog(projection, log, { sums, hasher, rows }),
    readLines(client, rows.query, subtractLines(sums, hasher, { hasMark: projection.keepsDeleted }))
      .then(() => readLines(client, `select ${ENTRY_COLUMNS.join(', ')} from lockstep.record_version_${projection.module.slug}`, subtractLines(sums, hasher, { head: OF_ENTRY }))),
  ]);
  return { ...folded, suspects: { share: sums.settle(), hasher, includes: (idHash) => sums.isSuspect(idHash) } };
}

type Digesting = { readonly sums: DigestSums; readonly hasher: IdHasher; readonly rows: RowDigests };

async function addLog(projection: ModuleProjection, { kafka, topic, positions, skipped, onMessages }: ComparedLog, { sums, hasher, rows }: Digesting): Promise<{ messages: number; records: number }> {
  const coverages = new Coverages(projection.module);
  const entry = sums.room(MOST_ENTRY_BYTES);
  const entryAt = DigestSums.start + entry.write(OF_ENTRY, DigestSums.start, 'latin1');
  let [messages, records] = [0, 0];
  await foldLog(kafka, topic, positions, {
    fold: {
      epsilonMs: projection.epsilonMs,
      keepsDeleted: projection.keepsDeleted,
      hasher,
      covers: (newer, older) => coverages.covers(newer, older),
      onCoverage: (coverage, fields) => {
        coverages.declare(coverage, fields);
        rows.learn({ id: coverage, fields });
      },
      onContent: (table, slot, head, { value }) => {
        const digest = rows.of(head, value as Buffer);
        table.flags[slot] = digest === null ? UNFIT_FOR_DIGEST : 0;
        if (digest !== null) table.digests.set(digest, slot * 4);
      },
    },
    skipped,
    onMessages: async (_, count) => {
      messages += count;
      await onMessages(messages);
    },
    onFolded: async (partition, folded) => {
      records += folded.size;
      for (let slot = 0; slot < folded.size; slot += 1) addRecord(partition, folded, slot);
    },
  });
  return { messages, records };

  function addRecord(partition: number, folded: RecordTable, slot: number): void {
    const idHash = folded.idHashes[slot] as number;
    const { hasRow, markMs } = standingOf(folded, slot, projection);
    sums.add(idHash, DigestSums.digest(entry, writeEntry(partition, folded, slot, entry, entryAt)));
    if (!hasRow) return;
    // Of several contents each would have to say which columns it leaves alone.
    if (folded.flags[slot] === UNFIT_FOR_DIGEST || folded.layersOf.has(slot)) return sums.mark(idHash);
    sums.add(idHash, folded.digests, slot * 4);
    if (markMs === null) return;
    const mark = rows.ofDeletion(folded.idOf(slot), markMs);
    if (mark === null) sums.mark(idHash);
    else sums.add(idHash, mark);
  }
}
