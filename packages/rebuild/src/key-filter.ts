import { hash } from 'node:crypto';

/** Bits of a filter, and how many of them are set for a key: one key in a hundred seems to be among 10,000 others. */
const BITS = 96_000;
const PROBES = 7;

/** The bits that stand for a key, counted from the lowest of the first byte, as Postgres's `get_bit` does. */
export function bitsOf(key: Buffer): number[] {
  const digest = hash('md5', key, 'buffer');
  const [first, step] = [digest.readUInt32LE(0), (digest.readUInt32LE(4) | 1) >>> 0];
  return Array.from({ length: PROBES }, (_, i) => (first + i * step) % BITS);
}

/** A Bloom filter: which keys are among those that were added, with a few too many and none too few. */
export class KeyFilter {
  readonly bytes = Buffer.alloc(BITS / 8);

  add(key: Buffer): void {
    for (const bit of bitsOf(key)) this.bytes[bit >> 3] = (this.bytes[bit >> 3] as number) | (1 << (bit & 7));
  }

  has(key: Buffer): boolean {
    return bitsOf(key).every((bit) => ((this.bytes[bit >> 3] as number) & (1 << (bit & 7))) !== 0);
  }
}
