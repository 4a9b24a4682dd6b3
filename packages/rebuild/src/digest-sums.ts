import { type BinaryToTextEncoding, hash, randomBytes } from 'node:crypto';

/** So many that a difference makes few records suspect beside its own, and few enough to take 16 MB. */
const BUCKETS = 1 << 20;
const WORDS = 4;
const KEY_BYTES = 32;

/** 128 bits of a digest. */
export type Digest = readonly [number, number, number, number];

/**
 * Compares two sets of texts without keeping either: what one side has is added to the bucket of its record, what the other side has is taken
 * away, and a bucket that both have the same of ends at 0. A digest is the SHA-256 of a secret key and the text, cut to 128 bits, so no damage, no matter who
 * chose it, cancels out but by chance: 1 in 2^128 for a bucket.
 */
export class DigestSums {
  readonly #sums = new Uint32Array(BUCKETS * WORDS);
  readonly #marked = new Uint8Array(BUCKETS);
  readonly #key = randomBytes(KEY_BYTES);

  /** A buffer that begins with the key, for texts to stand behind it. */
  room(bytes: number): Buffer {
    const room = Buffer.allocUnsafeSlow(KEY_BYTES + bytes);
    this.#key.copy(room);
    return room;
  }

  /** Where texts begin in a {@link room}. */
  static readonly start = KEY_BYTES;

  /** The digest of what stands in a {@link room} up to an end. */
  static digest(room: Buffer, end: number): Digest {
    // An encoding that hash() knows and its types do not; a buffer of its own would cost as much as the digest.
    const text = hash('sha256', room.subarray(0, end), 'latin1' as BinaryToTextEncoding);
    const word = (at: number): number => (text.charCodeAt(at) | (text.charCodeAt(at + 1) << 8) | (text.charCodeAt(at + 2) << 16) | (text.charCodeAt(at + 3) << 24)) >>> 0;
    return [word(0), word(4), word(8), word(12)];
  }

  add(idHash: number, digest: Digest | Uint32Array, at = 0): void {
    const bucket = (idHash & (BUCKETS - 1)) * WORDS;
    for (let word = 0; word < WORDS; word += 1) this.#sums[bucket + word] = (this.#sums[bucket + word] as number) + (digest[at + word] as number);
  }

  subtract(idHash: number, digest: Digest): void {
    const bucket = (idHash & (BUCKETS - 1)) * WORDS;
    for (let word = 0; word < WORDS; word += 1) this.#sums[bucket + word] = (this.#sums[bucket + word] as number) - (digest[word] as number);
  }

  /** Makes a record suspect whatever its digests are. */
  mark(idHash: number): void {
    this.#marked[idHash & (BUCKETS - 1)] = 1;
  }

  /** The share of buckets that do not agree, 0 to 1; afterwards {@link isSuspect} knows them. */
  settle(): number {
    let suspect = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket += 1) {
      const at = bucket * WORDS;
      if (this.#marked[bucket] === 1 || ((this.#sums[at] as number) | (this.#sums[at + 1] as number) | (this.#sums[at + 2] as number) | (this.#sums[at + 3] as number)) !== 0) {
        this.#marked[bucket] = 1;
        suspect += 1;
      }
    }
    return suspect / BUCKETS;
  }

  isSuspect(idHash: number): boolean {
    return this.#marked[idHash & (BUCKETS - 1)] === 1;
  }
}
