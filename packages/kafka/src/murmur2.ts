const SEED = 0x9747b28c;
const M = 0x5bd1e995;

/** Kafka's hash of keys, 32-bit murmur2, as the Java client computes it; of the bytes from `from` up to `to`. */
export function murmur2(key: Uint8Array, from = 0, to = key.length): number {
  let h = SEED ^ (to - from);
  let i = from;
  for (; i + 4 <= to; i += 4) {
    let k = (key[i] as number) | ((key[i + 1] as number) << 8) | ((key[i + 2] as number) << 16) | ((key[i + 3] as number) << 24);
    k = Math.imul(k, M);
    k ^= k >>> 24;
    h = Math.imul(h, M) ^ Math.imul(k, M);
  }
  const rest = to - i;
  if (rest === 3) h ^= (key[i + 2] as number) << 16;
  if (rest >= 2) h ^= (key[i + 1] as number) << 8;
  if (rest >= 1) {
    h ^= key[i] as number;
    h = Math.imul(h, M);
  }
  h ^= h >>> 13;
  h = Math.imul(h, M);
  return h ^ (h >>> 15);
}

/** The partition a key belongs to: the same one that every other Kafka client would choose. */
export const partitionOf = (key: Uint8Array | string, partitionCount: number): number => partitionOfHash(murmur2(typeof key === 'string' ? Buffer.from(key) : key), partitionCount);

/** The partition of a key whose hash this is. */
export const partitionOfHash = (hash: number, partitionCount: number): number => (hash & 0x7fffffff) % partitionCount;
