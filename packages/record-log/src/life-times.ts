import { DEFAULT_EPSILON_MS } from './version.ts';

/** The times of one record by which it is alive or dead, epoch milliseconds of the CRM; null or absent: never. */
export type LifeTimes = {
  /** When it was last seen. */
  readonly observedMs?: number | null | undefined;
  /** Upper bound of its latest deletion. */
  readonly deletedMs?: number | null | undefined;
};

/** The same, with what ends a doubt. */
export type SettlingTimes = LifeTimes & {
  /** `Modified_Time` of what was seen, as it was read. */
  readonly modifiedMs?: number | null | undefined;
  /** When the CRM last listed it as deleted. */
  readonly listedMs?: number | null | undefined;
};

/*
 * `packages/postgres/src/fold-sql.ts` says the same three rules in SQL; a test there holds both equal.
 */

/** Whether the record exists in the CRM as far as is known: it was seen, and clearly after its last deletion. */
export const isAliveBy = ({ observedMs, deletedMs }: LifeTimes, epsilonMs = DEFAULT_EPSILON_MS): boolean =>
  observedMs !== null && observedMs !== undefined && (deletedMs === null || deletedMs === undefined || observedMs > deletedMs + epsilonMs);

/**
 * Whether no doubt is left. A living record may have a newer content of the same second, until it is seen late enough. A dead one may
 * have been seen after its deletion and not before it, until the deleted list, read later than any look can lag, still names it.
 */
export function isSettledBy(times: SettlingTimes, epsilonMs = DEFAULT_EPSILON_MS): boolean {
  const { modifiedMs, observedMs, deletedMs, listedMs } = times;
  if (observedMs === null || observedMs === undefined) return true;
  if (isAliveBy(times, epsilonMs)) return observedMs >= (modifiedMs ?? 0) + 1000 + epsilonMs;
  const diedMs = deletedMs as number;
  return diedMs - observedMs > epsilonMs || (listedMs ?? Number.NEGATIVE_INFINITY) > diedMs + epsilonMs;
}

/** From when on a record that is not settled may be another than it is known as. Meaningless for one that is. */
export const doubtSince = (times: SettlingTimes, epsilonMs = DEFAULT_EPSILON_MS): number =>
  isAliveBy(times, epsilonMs) ? (times.modifiedMs ?? 0) : Math.min(times.observedMs ?? Number.POSITIVE_INFINITY, times.deletedMs ?? Number.POSITIVE_INFINITY);
