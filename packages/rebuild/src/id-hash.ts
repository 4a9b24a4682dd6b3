const PRIME = 0x01000193;

/**
 * A hash of 32 bits for the texts of ids and keys, by a seed that no one else knows: by its lower bits records are spread over buckets, by its upper
 * ones over slices of a partition.
 */
export function idHasher(seed: number): { readonly ofText: (id: string) => number; readonly ofBytes: (bytes: Buffer, from: number, to: number) => number } {
  return {
    ofText: (id) => {
      let hash = seed;
      for (let at = 0; at < id.length; at += 1) hash = Math.imul(hash ^ id.charCodeAt(at), PRIME);
      return mixed(hash);
    },
    ofBytes: (bytes, from, to) => {
      let hash = seed;
      for (let at = from; at < to; at += 1) hash = Math.imul(hash ^ (bytes[at] as number), PRIME);
      return mixed(hash);
    },
  };
}

export type IdHasher = ReturnType<typeof idHasher>;

/** Spreads the last digits over all bits. */
function mixed(hash: number): number {
  let bits = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}

/** Part of the ids, by the upper bits of their hashes. */
export type Slice = { readonly bits: number; readonly value: number };

export const WHOLE: Slice = { bits: 0, value: 0 };

export const isInSlice = ({ bits, value }: Slice, idHash: number): boolean => bits === 0 || idHash >>> (32 - bits) === value;

/** Its halves. */
export const halves = ({ bits, value }: Slice): [Slice, Slice] => [
  { bits: bits + 1, value: value * 2 },
  { bits: bits + 1, value: value * 2 + 1 },
];
