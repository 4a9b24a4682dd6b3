/** Scatters 32 bits (the finalizer of MurmurHash3): equal input, equal output, no state. */
export function mix(value: number): number {
  let h = value;
  h ^= h >>> 16;
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** A hash of two numbers below 2^32. */
export const mix2 = (a: number, b: number): number => mix(a + Math.imul(b + 1, 0x9e3779b1));

/** A 32-bit hash of a text (FNV-1a, mixed). */
export function hashText(text: string): number {
  let h = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) h = Math.imul(h ^ text.charCodeAt(at), 0x01000193);
  return mix(h);
}

/** A sequence of random numbers that its seed alone determines. */
export type Random = {
  /** In [0, 1). */
  next(): number;
  /** A whole number in [0, below). */
  below(limit: number): number;
};

/** @param seed any whole number. */
export function seededRandom(seed: number): Random {
  let count = 0;
  const base = mix(seed);
  const next = () => mix2(base, count++) / 2 ** 32;
  return { next, below: (limit) => Math.floor(next() * limit) };
}
