import type { Layer } from './partition-fold.ts';

const FIRST_ROOM = 1 << 14;
const HASH_WORDS = 4;
const HASH_DIGITS = 32;
const LOW_DIGITS = 9;
const HEX = '0123456789abcdef';
const [DASH, NINE] = [0x2d, 0x39];

/** Bits of a record that `flags` has: its content has no digest; it is left to the projector. */
export const [NO_DIGEST, LEFT] = [1, 2] as const;

/**
 * Records of a partition in typed arrays, one slot each, numbered from 0: about 120 bytes a record, whatever its row's size, and nothing for the collector
 * to look at. NaN stands for a time that there is none of.
 */
export class RecordTable {
  size = 0;
  idHashes = new Uint32Array(FIRST_ROOM);
  versionMs = new Float64Array(FIRST_ROOM);
  modifiedMs = new Float64Array(FIRST_ROOM);
  observedMs = new Float64Array(FIRST_ROOM);
  deletedMs = new Float64Array(FIRST_ROOM);
  listedMs = new Float64Array(FIRST_ROOM);
  offsets = new Float64Array(FIRST_ROOM);
  /** Four words of a content hash, and of whatever the reader notes of a content. */
  hashes = new Uint32Array(FIRST_ROOM * HASH_WORDS);
  digests = new Uint32Array(FIRST_ROOM * HASH_WORDS);
  flags = new Uint8Array(FIRST_ROOM);
  /** Of a record that one content stands for: its coverage, as an index of `coverages`. */
  coverageOf = new Uint32Array(FIRST_ROOM);
  readonly coverages: string[] = [];
  /** Of records whose row is made of several contents, and of those that have none any more. */
  readonly layersOf = new Map<number, readonly Layer[]>();
  #idHigh = new Float64Array(FIRST_ROOM);
  #idLow = new Uint32Array(FIRST_ROOM);
  /** Slot + 1 by hash, with linear probing. */
  #index = new Int32Array(FIRST_ROOM * 2);
  readonly #coverageIndexes = new Map<string, number>();

  /** The slot of a record, or -1. */
  find(id: string, idHash: number): number {
    const [high, low] = [highOf(id), lowOf(id)];
    const mask = this.#index.length - 1;
    for (let at = idHash & mask; ; at = (at + 1) & mask) {
      const slot = (this.#index[at] as number) - 1;
      if (slot < 0 || (this.#idLow[slot] === low && this.#idHigh[slot] === high)) return slot;
    }
  }

  /** A slot for a record that has none, with no time of any kind. */
  add(id: string, idHash: number): number {
    if (this.size === this.idHashes.length) this.#grow();
    const slot = this.size;
    this.size += 1;
    this.#idHigh[slot] = highOf(id);
    this.#idLow[slot] = lowOf(id);
    this.idHashes[slot] = idHash;
    for (const times of [this.versionMs, this.modifiedMs, this.observedMs, this.deletedMs, this.listedMs]) times[slot] = Number.NaN;
    this.flags[slot] = 0;
    this.#enter(slot);
    return slot;
  }

  idOf(slot: number): string {
    const [high, low] = [this.#idHigh[slot] as number, String(this.#idLow[slot])];
    return high === 0 ? low : `${high}${low.padStart(LOW_DIGITS, '0')}`;
  }

  coverageIndex(coverage: string): number {
    const known = this.#coverageIndexes.get(coverage);
    if (known !== undefined) return known;
    this.#coverageIndexes.set(coverage, this.coverages.push(coverage) - 1);
    return this.coverages.length - 1;
  }

  /** Where the contents of a record's row stand, the newest first. */
  layers(slot: number): readonly Layer[] {
    return this.layersOf.get(slot) ?? (this.isSeen(slot) ? [{ offset: this.offsets[slot] as number, coverage: this.coverages[this.coverageOf[slot] as number] as string }] : []);
  }

  isSeen(slot: number): boolean {
    return !Number.isNaN(this.modifiedMs[slot]);
  }

  /** Writes the content hash as a uuid is given out. @returns where it ends. */
  writeHash(slot: number, target: Buffer, at: number): number {
    for (let digit = 0; digit < HASH_DIGITS; digit += 1) {
      if (digit === 8 || digit === 12 || digit === 16 || digit === 20) target[at++] = DASH;
      target[at++] = HEX.charCodeAt(((this.hashes[slot * HASH_WORDS + (digit >>> 3)] as number) >>> (28 - (digit & 7) * 4)) & 15);
    }
    return at;
  }

  /** Takes a hash of 32 hex digits. */
  setHash(slot: number, hash: string): void {
    for (let word = 0; word < HASH_WORDS; word += 1) this.hashes[slot * HASH_WORDS + word] = wordOf(hash, word);
  }

  /** Less than 0 where this hash is the smaller one; as 32 hex digits compare. */
  compareHash(hash: string, slot: number): number {
    for (let word = 0; word < HASH_WORDS; word += 1) {
      const difference = wordOf(hash, word) - (this.hashes[slot * HASH_WORDS + word] as number);
      if (difference !== 0) return difference;
    }
    return 0;
  }

  clear(): void {
    this.size = 0;
    this.#index.fill(0);
    this.layersOf.clear();
  }

  /** Drops the records whose hash is not wanted; the others may have other slots afterwards. */
  retain(isWanted: (idHash: number) => boolean): void {
    let to = 0;
    for (let slot = 0; slot < this.size; slot += 1) {
      const layers = this.layersOf.get(slot);
      this.layersOf.delete(slot);
      if (!isWanted(this.idHashes[slot] as number)) continue;
      for (const column of this.#columns()) column[to] = column[slot] as number;
      for (const words of [this.hashes, this.digests]) words.copyWithin(to * HASH_WORDS, slot * HASH_WORDS, (slot + 1) * HASH_WORDS);
      if (layers !== undefined) this.layersOf.set(to, layers);
      to += 1;
    }
    this.size = to;
    this.#reindex();
  }

  #columns(): (Float64Array | Uint32Array | Uint8Array)[] {
    return [this.#idHigh, this.#idLow, this.idHashes, this.versionMs, this.modifiedMs, this.observedMs, this.deletedMs, this.listedMs, this.offsets, this.flags, this.coverageOf];
  }

  #enter(slot: number): void {
    const mask = this.#index.length - 1;
    let at = (this.idHashes[slot] as number) & mask;
    while (this.#index[at] !== 0) at = (at + 1) & mask;
    this.#index[at] = slot + 1;
  }

  #reindex(): void {
    this.#index.fill(0);
    for (let slot = 0; slot < this.size; slot += 1) this.#enter(slot);
  }

  #grow(): void {
    const doubled = <A extends Float64Array | Uint32Array | Uint8Array>(before: A): A => {
      const after = new (before.constructor as new (length: number) => A)(before.length * 2);
      after.set(before);
      return after;
    };
    this.idHashes = doubled(this.idHashes);
    this.versionMs = doubled(this.versionMs);
    this.modifiedMs = doubled(this.modifiedMs);
    this.observedMs = doubled(this.observedMs);
    this.deletedMs = doubled(this.deletedMs);
    this.listedMs = doubled(this.listedMs);
    this.offsets = doubled(this.offsets);
    this.hashes = doubled(this.hashes);
    this.digests = doubled(this.digests);
    this.flags = doubled(this.flags);
    this.coverageOf = doubled(this.coverageOf);
    this.#idHigh = doubled(this.#idHigh);
    this.#idLow = doubled(this.#idLow);
    this.#index = new Int32Array(this.#index.length * 2);
    this.#reindex();
  }
}

// An id has up to 19 digits, more than a number holds exactly.
const highOf = (id: string): number => (id.length > LOW_DIGITS ? Number(id.slice(0, -LOW_DIGITS)) : 0);
const lowOf = (id: string): number => Number(id.slice(-LOW_DIGITS));

/** Eight lower-case hex digits as a number. */
function wordOf(hash: string, word: number): number {
  let bits = 0;
  for (let at = word * 8; at < word * 8 + 8; at += 1) {
    const code = hash.charCodeAt(at);
    bits = (bits << 4) | (code <= NINE ? code & 15 : code - 87);
  }
  return bits >>> 0;
}
