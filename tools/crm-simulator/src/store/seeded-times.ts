import { mix2 } from '../random.ts';

/**
 * When the seeded records were last changed. Four records share each of these seconds, blocks of 1024 records follow one
 * another in time, and inside a block the order is scrambled by an XOR: so the time of an index, and the indexes of a
 * span of time, are both a matter of arithmetic.
 */
const FIRST_MS = Date.UTC(2015, 0, 1);
const STEP_MS = 120_000;
const PER_SECOND = 4;
const BLOCK = 1023;
const DAY_S = 86_400;

const scramble = (seed: number, index: number): number => (index ^ (mix2(seed, index >>> 10) & BLOCK)) >>> 0;

/** @returns epoch ms of the last change, whole seconds. */
export const seededModifiedMs = (seed: number, index: number): number => FIRST_MS + Math.floor(scramble(seed, index) / PER_SECOND) * STEP_MS;

/** @returns epoch ms of the creation, at most 400 days before the last change. */
export const seededCreatedMs = (seed: number, index: number): number =>
  seededModifiedMs(seed, index) - (mix2(seed ^ 0x5bd1e995, index) % (400 * DAY_S)) * 1000;

/** Groups of indexes that share one second, numbered in the order of time. */
export const groupCount = (count: number): number => Math.ceil((((count + BLOCK) >>> 10) << 10) / PER_SECOND);

/** @returns the first group whose second is not before the given time. */
export const groupFrom = (ms: number): number => Math.max(0, Math.ceil((ms - FIRST_MS) / STEP_MS));

/** @returns the second of a group, epoch ms. */
export const groupMs = (group: number): number => FIRST_MS + group * STEP_MS;

/** @returns the indexes of a group in ascending order; those beyond `count` do not exist. */
export function groupIndexes(seed: number, group: number, count: number): number[] {
  const indexes: number[] = [];
  for (let rank = group * PER_SECOND; rank < (group + 1) * PER_SECOND; rank++) {
    const index = scramble(seed, rank);
    if (index < count) indexes.push(index);
  }
  return indexes.toSorted((a, b) => a - b);
}
