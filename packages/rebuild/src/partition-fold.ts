import { decodeEvent, isAliveBy, readRepairedHead, readSeenHead, type RecordConfirmed, type SeenHead, versionTime } from '@lockstep/record-log';

import { halves, type IdHasher, isInSlice, type Slice } from './id-hash.ts';
import { RecordTable } from './record-table.ts';

/** A content that counts for some fields of a row: the message it stands in, and the coverage that names its fields. */
export type Layer = { readonly offset: number; readonly coverage: string };

/** A message of the partition, in the order of the log. */
export type FoldedMessage = { readonly offset: number; readonly value: Buffer | null };

export type PartitionFoldOptions = {
  readonly epsilonMs: number;
  /** Whether a deleted record keeps its row; else a content after that begins a new one. */
  readonly keepsDeleted: boolean;
  /** Whether a content of the first coverage leaves nothing of one of the second to stand. */
  readonly covers: (newer: string, older: string) => boolean;
  readonly onCoverage: (coverage: string, fields: readonly string[]) => void;
  /** A content that has won up to here; it may be outdated by a later one. */
  readonly onContent: (records: RecordTable, slot: number, head: SeenHead, message: FoldedMessage) => void;
  /** A look that confirmed something newer than what stands at its place. */
  readonly onUnconfirmed?: (id: string) => void;
  readonly hasher: IdHasher;
  /** Whether records of this hash are folded at all. */
  readonly isWanted?: (idHash: number) => boolean;
  /** How many records are kept at most: with one more, half of the ids is left for another reading. */
  readonly atMost?: number;
  /** Where they are kept: one that was used before has its room already. */
  readonly records?: RecordTable;
};

// Some 30 MB.
const AT_MOST = 1 << 18;

/**
 * Folds a partition message by message, as `@lockstep/record-log` defines it, keeping of each record its register and where its contents stand. Of a
 * partition with more records than are kept at once it folds a slice, and the others later.
 */
export class PartitionFold {
  readonly records: RecordTable;
  /** What is to be folded by reading the partition again. */
  readonly left: Slice[] = [];
  readonly #options: PartitionFoldOptions;
  readonly #atMost: number;
  #slice: Slice;

  constructor(options: PartitionFoldOptions, slice: Slice) {
    this.#options = options;
    this.#atMost = options.atMost ?? AT_MOST;
    this.#slice = slice;
    this.records = options.records ?? new RecordTable();
    this.records.clear();
  }

  /** Begins with another partition or slice. */
  begin(slice: Slice): void {
    this.records.clear();
    this.left.length = 0;
    this.#slice = slice;
  }

  /**
   * @returns false for what is readable, but not of the one published form: the projector parks it for good.
   * @throws {EventFormatError} for what is no event.
   */
  observe(message: FoldedMessage): boolean {
    const head = message.value === null ? null : (readSeenHead(message.value) ?? readRepairedHead(message.value));
    if (head !== null) {
      this.#observeContent(head, message);
      return true;
    }
    const event = decodeEvent(message.value ?? '');
    switch (event.type) {
      case 'RecordDeleted':
        this.#observeDeletion(event.id, event.deletedMs + 999, event.listedMs ?? Number.NaN, message.offset);
        return true;
      case 'RecordConfirmed':
        this.#observeConfirmation(event);
        return true;
      case 'CoverageDeclared':
        this.#options.onCoverage(event.coverage, event.fields);
        return true;
      case 'RecordSeen':
      case 'RecordRepaired':
        return false;
    }
  }

  #observeContent(head: SeenHead & { readonly versionMs?: number }, message: FoldedMessage): void {
    const idHash = this.#options.hasher.ofText(head.id);
    if (!this.#isWanted(idHash)) return;
    const { records } = this;
    const found = records.find(head.id, idHash);
    const slot = found < 0 ? this.#add(head.id, idHash) : found;
    if (slot < 0) return;
    const isFirst = !records.isSeen(slot);
    if (!isFirst && this.#compare(head, slot) <= 0) return;
    if (found < 0) this.#stack(slot, { offset: message.offset, coverage: head.coverage }, []);
    else this.#stack(slot, { offset: message.offset, coverage: head.coverage }, records.layers(slot));
    records.modifiedMs[slot] = head.modifiedMs;
    records.versionMs[slot] = versionTime(head);
    records.observedMs[slot] = head.observedMs;
    records.offsets[slot] = message.offset;
    records.setHash(slot, head.hash);
    this.#forgetRemoved(slot);
    this.#options.onContent(records, slot, head, message);
  }

  /** As `compareVersions` does, without an object for what stands. */
  #compare(head: SeenHead, slot: number): number {
    const { records } = this;
    return versionTime(head) - (records.versionMs[slot] as number)
      || head.observedMs - (records.observedMs[slot] as number)
      || records.compareHash(head.hash, slot)
      || head.modifiedMs - (records.modifiedMs[slot] as number);
  }

  /** A newer content leaves what it does not speak of as it stands. */
  #stack(slot: number, layer: Layer, before: readonly Layer[]): void {
    const layers = [layer];
    for (const older of before) if (!layers.some(({ coverage }) => coverage === older.coverage || this.#options.covers(coverage, older.coverage))) layers.push(older);
    this.records.coverageOf[slot] = this.records.coverageIndex(layer.coverage);
    if (layers.length === 1) this.records.layersOf.delete(slot);
    else this.records.layersOf.set(slot, layers);
  }

  #observeDeletion(id: string, deletedMs: number, listedMs: number, offset: number): void {
    const idHash = this.#options.hasher.ofText(id);
    if (!this.#isWanted(idHash)) return;
    const { records } = this;
    let slot = records.find(id, idHash);
    if (slot < 0) {
      slot = this.#add(id, idHash);
      if (slot < 0) return;
      records.offsets[slot] = offset;
    }
    records.deletedMs[slot] = latest(records.deletedMs[slot] as number, deletedMs);
    records.listedMs[slot] = latest(records.listedMs[slot] as number, listedMs);
    this.#forgetRemoved(slot);
  }

  /** A row that was removed leaves nothing for a later content of a smaller coverage. */
  #forgetRemoved(slot: number): void {
    if (this.#options.keepsDeleted || isAliveBy({ observedMs: orNull(this.records.observedMs[slot]), deletedMs: orNull(this.records.deletedMs[slot]) }, this.#options.epsilonMs)) return;
    if (this.records.isSeen(slot)) this.records.layersOf.set(slot, []);
  }

  #observeConfirmation(confirmed: RecordConfirmed): void {
    const idHash = this.#options.hasher.ofText(confirmed.id);
    if (!this.#isWanted(idHash)) return;
    const { records } = this;
    const slot = records.find(confirmed.id, idHash);
    if (slot < 0 || !records.isSeen(slot)) return this.#options.onUnconfirmed?.(confirmed.id);
    const [versionMs, observedMs] = [records.versionMs[slot] as number, records.observedMs[slot] as number];
    if ((versionTime(confirmed) - versionMs || confirmed.observedMs - observedMs) <= 0) return;
    const isSame = records.modifiedMs[slot] === confirmed.modifiedMs && versionMs === versionTime(confirmed) && records.compareHash(confirmed.hash, slot) === 0;
    const deletedMs = orNull(records.deletedMs[slot]);
    const { epsilonMs } = this.#options;
    const staysSo = isAliveBy({ observedMs: confirmed.observedMs, deletedMs }, epsilonMs) === isAliveBy({ observedMs, deletedMs }, epsilonMs);
    if (isSame && staysSo) records.observedMs[slot] = confirmed.observedMs;
    else this.#options.onUnconfirmed?.(confirmed.id);
  }

  #isWanted(idHash: number): boolean {
    return isInSlice(this.#slice, idHash) && this.#options.isWanted?.(idHash) !== false;
  }

  /** A slot for a new record; -1 where it is in the part that is left for another reading. */
  #add(id: string, idHash: number): number {
    while (this.records.size >= this.#atMost) {
      const [here, later] = halves(this.#slice);
      this.#slice = here;
      this.left.push(later);
      this.records.retain((hash) => isInSlice(here, hash));
    }
    return isInSlice(this.#slice, idHash) ? this.records.add(id, idHash) : -1;
  }
}

/** The later of two times, of which NaN is none. */
const latest = (one: number, other: number): number => (Number.isNaN(one) ? other : Number.isNaN(other) ? one : Math.max(one, other));

/** NaN as null. */
export const orNull = (value: number | undefined): number | null => (value === undefined || Number.isNaN(value) ? null : value);
