import type { BulkRunRow } from '@lockstep/postgres';

/** What is known when it is asked whether a module's table is to be compared with its log. */
export type VerificationState = {
  readonly runs: readonly Pick<BulkRunRow, 'kind' | 'state' | 'finishedAt'>[];
  readonly last: { readonly verifiedAt: Date; readonly differences: number } | null;
  /** When the last attempt failed; null for one that did not. */
  readonly failedAt: Date | null;
  /** The database's time. */
  readonly now: Date;
  /** 0 for never. */
  readonly everyMs: number;
};

/** A first load is let settle before it is compared. */
const AFTER_LOAD_MS = 10 * 60_000;
/** What differed, or could not be compared, is looked at again. */
const AGAIN_AFTER_MS = 60 * 60_000;

/** Whether a module's table is to be compared with its log now: not during a bulk read, and first some minutes after the first load. */
export function isVerificationDue({ runs, last, failedAt, now, everyMs }: VerificationState): boolean {
  const loadedAt = runs.find(({ kind, state }) => kind === 'initial' && state === 'complete')?.finishedAt ?? null;
  if (everyMs === 0 || loadedAt === null || runs.some(({ state }) => state === 'running')) return false;
  const isPast = (at: Date, ms: number): boolean => at.getTime() + ms <= now.getTime();
  if (failedAt !== null && !isPast(failedAt, Math.min(AGAIN_AFTER_MS, everyMs))) return false;
  if (last === null) return isPast(loadedAt, Math.min(AFTER_LOAD_MS, everyMs));
  return isPast(last.verifiedAt, last.differences === 0 ? everyMs : Math.min(AGAIN_AFTER_MS, everyMs));
}
