import type { BulkPageRow } from '@lockstep/postgres';

/** What the creation of a job costs. */
export const JOB_CREDITS = 50;
/** Jobs of one organisation run about one after another. */
const MAX_JOBS = 2;
/** A job that takes longer is the CRM's to finish, and takes no other module's place. */
const HOLDS_PLACE_MS = 10 * 60_000;
/** A page that is due and is not requested for as long is in some trouble of its own, and lets the others go first. */
const HOLDS_TURN_MS = 10 * 60_000;

/** The first attempt fails often by chance, the sixth hardly. */
const FIRST_WAIT_MS = 10_000;
const WAIT_GROWS_BY = 4;
const MAX_WAIT_MS = 6 * 3_600_000;

/**
 * How long after an attempt the page may be requested again: ten seconds, growing to six hours. Each attempt costs up to 50 credits, so a page that cannot be read
 * costs 500 on its first day at most, and 200 on each that follows.
 * @param attempt counted from 1.
 */
export const waitAfterMs = (attempt: number): number => Math.min(FIRST_WAIT_MS * WAIT_GROWS_BY ** (attempt - 1), MAX_WAIT_MS);

/** When a page may be requested; one that never was, since it is there. */
const dueAtMs = ({ nextAttemptAt, updatedAt }: BulkPageRow): number => Math.max(nextAttemptAt?.getTime() ?? Number.NEGATIVE_INFINITY, updatedAt.getTime());

/** Whether a page waits for no pause. A pause of hours that ends in the far future was noted by another clock. */
export function isDue({ nextAttemptAt, attempts }: BulkPageRow, nowMs: number): boolean {
  const atMs = nextAttemptAt?.getTime() ?? Number.NEGATIVE_INFINITY;
  return nowMs >= atMs || atMs - nowMs > waitAfterMs(attempts) + 60_000;
}

/**
 * Whether a job may be requested for a page now. All modules share a few jobs; the one that waits longest comes first, and a job that does not end takes no place.
 * @param open pages of the modules that are configured.
 */
export function mayRequest(page: BulkPageRow, open: readonly BulkPageRow[], nowMs: number): boolean {
  if (page.state !== 'wanted' || !isDue(page, nowMs)) return false;
  const running = open.filter(({ state, updatedAt }) => state === 'requested' && nowMs - updatedAt.getTime() < HOLDS_PLACE_MS).length;
  const before = open.filter((other) => other.id !== page.id && other.state === 'wanted' && isDue(other, nowMs) && nowMs - dueAtMs(other) < HOLDS_TURN_MS && isBefore(other, page)).length;
  return running + before < MAX_JOBS;
}

const isBefore = (a: BulkPageRow, b: BulkPageRow): boolean => dueAtMs(a) < dueAtMs(b) || (dueAtMs(a) === dueAtMs(b) && a.id < b.id);
