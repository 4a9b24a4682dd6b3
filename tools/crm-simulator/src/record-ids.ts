/**
 * Record ids have 19 digits and exceed 2^53. All ids of one organisation share their first digits, so that inside the
 * simulator a record is named by the other 14, its key: an ordinary number. Order of keys is order of ids.
 */
const PREFIX = '57257';
const DIGITS = 14;

/** @returns the 19-digit id of a key. */
export const idOf = (key: number): string => PREFIX + String(key).padStart(DIGITS, '0');

/** @returns the key of an id, or undefined for an id that no record of this organisation can have. */
export function keyOf(id: string): number | undefined {
  if (id.length !== PREFIX.length + DIGITS || !id.startsWith(PREFIX) || !/^\d+$/.test(id)) return undefined;
  return Number(id.slice(PREFIX.length));
}

/** The place of any whole number among the keys: below or above all of them, if it is no id of this organisation. */
export function keyPosition(id: string): number | undefined {
  if (!/^-?\d+$/.test(id)) return undefined;
  return keyOf(id) ?? (BigInt(id) < BigInt(idOf(0)) ? -Infinity : Infinity);
}

/** Keys between two seeded records: the ids of a real organisation have gaps. */
const STEP = 3;
const CREATED = 500_000_000_000;

/** First key of each kind of thing; a module takes `records(n)`. */
export const keyBase = {
  modules: 1_000,
  layouts: 2_000,
  users: 100_000,
  fields: 200_000,
  picks: 400_000,
  tags: 700_000,
  accounts: 10_000_000,
  contacts: 20_000_000,
  campaigns: 30_000_000,
  vendors: 40_000_000,
  jobs: 100_000_000,
  records: (module: number): number => (module + 1) * 1_000_000_000_000,
} as const;

/** @returns the key of a seeded record. */
export const seededKey = (base: number, index: number): number => base + 1 + index * STEP;

/** @returns the index of a seeded record, or undefined when the key lies between records or beyond them. */
export function seededIndex(base: number, key: number, count: number): number | undefined {
  const index = (key - base - 1) / STEP;
  return Number.isInteger(index) && index >= 0 && index < count ? index : undefined;
}

/** @returns the smallest index whose key is not below this one (not cut to the number of records). */
export const seededIndexFrom = (base: number, key: number): number => Math.max(0, Math.ceil((key - base - 1) / STEP));

/** @returns the key of the n-th record created since the start; above every seeded one. */
export const createdKey = (base: number, n: number): number => base + CREATED + n * STEP;
