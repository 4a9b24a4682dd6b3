import { randomInt } from 'node:crypto';

import type { ModuleProjection } from '@lockstep/projection';
import type { Coverage, SeenHead } from '@lockstep/record-log';

import { DigestSums } from './digest-sums.ts';
import { idHasher } from './id-hash.ts';
import { LEFT, NO_DIGEST, type RecordTable } from './record-table.ts';
import { OF_ENTRY, RowDigests } from './row-digests.ts';
import { MOST_ENTRY_BYTES, standingOf, writeEntry } from './standing.ts';

/** Sums up the digests of the rows and register entries that a log amounts to. */
export class LogDigests {
  readonly sums = new DigestSums();
  readonly hasher = idHasher(randomInt(2 ** 32));
  readonly #projection: ModuleProjection;
  readonly #rows: RowDigests;
  readonly #entry = this.sums.room(MOST_ENTRY_BYTES);
  readonly #entryAt = DigestSums.start + this.#entry.write(OF_ENTRY, DigestSums.start, 'latin1');

  constructor(projection: ModuleProjection) {
    this.#projection = projection;
    this.#rows = new RowDigests(projection, this.sums);
  }

  learn(declared: Coverage): void {
    this.#rows.learn(declared);
  }

  /**
   * Notes the digest of a record's content with the record, in the place of one before.
   * @returns the content as COPY text, until the next one; null where it is not foreseen.
   */
  note(records: RecordTable, slot: number, head: SeenHead, value: Buffer): RowDigests['last'] | null {
    const digest = this.#rows.of(head, value);
    records.flags[slot] = digest === null ? NO_DIGEST : 0;
    if (digest === null) return null;
    records.digests.set(digest, slot * digest.length);
    return this.#rows.last;
  }

  /** Adds a record as it is at the end of the log; one of which no digest is known is marked. */
  add(partition: number, records: RecordTable, slot: number): void {
    const { sums } = this;
    const idHash = records.idHashes[slot] as number;
    const { hasRow, markMs } = standingOf(records, slot, this.#projection);
    const flags = records.flags[slot] as number;
    if ((flags & LEFT) !== 0) return sums.mark(idHash);
    sums.add(idHash, DigestSums.digest(this.#entry, writeEntry(partition, records, slot, this.#entry, this.#entryAt)));
    if (!hasRow) return;
    // Of several contents each would have to say which columns it leaves alone.
    if ((flags & NO_DIGEST) !== 0 || records.layersOf.has(slot)) return sums.mark(idHash);
    sums.add(idHash, records.digests, slot * 4);
    if (markMs === null) return;
    const mark = this.#rows.ofDeletion(records.idOf(slot), markMs);
    if (mark === null) sums.mark(idHash);
    else sums.add(idHash, mark);
  }
}
