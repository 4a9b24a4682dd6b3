/**
 * A bucket of credits: so many flow in within 24 hours, and it holds so many at most. Over any 24 hours no more is taken out of it than both together, so what
 * is paid out of a bucket needs no memory of the day.
 */
export type Bucket = { readonly capacity: number; readonly perDay: number };

/** A bucket and what is in it. */
export type FilledBucket = Bucket & { readonly level: number };

const DAY_MS = 86_400_000;
/** Share of what may be spent in a day that may be spent at once. */
const BURST = 0.2;
/** Of the day's credits, what all repetitions of failed calls may cost. */
const RETRIES = 0.01;

/** The bucket out of which every call is paid: what is above the reserve. */
export function dayBucket({ perDay, reserve }: { readonly perDay: number; readonly reserve: number }): Bucket {
  const usable = perDay * (1 - reserve);
  return { capacity: usable * BURST, perDay: usable * (1 - BURST) };
}

/** The bucket out of which retries are paid besides: one per cent of the day. */
export const retryBucket = (perDay: number): Bucket => ({ capacity: (perDay * RETRIES) / 2, perDay: (perDay * RETRIES) / 2 });

/** What is in a bucket after a while in which nothing was taken out. */
export const refilled = ({ capacity, perDay }: Bucket, level: number, ms: number): number => Math.min(capacity, level + (Math.max(0, ms) * perDay) / DAY_MS);

/** How long it takes until so much is in the bucket; infinity where it never is. */
export const untilLevelMs = ({ capacity, perDay, level }: FilledBucket, wanted: number): number => (wanted > capacity ? Number.POSITIVE_INFINITY : Math.max(0, ((wanted - level) * DAY_MS) / perDay));

/** What a call is for, from the one that goes on longest. */
export type Spending = 'catch-up' | 'other' | 'bulk-read' | 'retry' | 'look';

/** Share of the bucket that a call has to leave: the last quarter keeps the watermark moving. */
const KEPT: Readonly<Record<Spending, number>> = { 'catch-up': 0, other: 0, 'bulk-read': 0.1, retry: 0.1, look: 0.25 };

/** What has to be left in the bucket after a call. */
export const keptFor = ({ capacity }: Bucket, spending: Spending): number => capacity * KEPT[spending];

/** Above this share of its capacity nothing is held back. */
const FREE_FROM = 0.5;
/** Of what flows in, the share that catch-ups may spend at half of their range; looks have the rest. */
const CATCH_UP_WEIGHT = 1 / 6;

/** Whether what is done is coarser than it would be with more credits. */
export const isCoarser = ({ capacity, level }: FilledBucket): boolean => level < capacity * FREE_FROM;

/**
 * From one look at a module to its next, milliseconds: 0 while the bucket is half full, then longer and longer, so that what is spent approaches what flows in. The
 * rule depends on the level alone, whatever emptied it; infinity at a quarter.
 */
export const lookEveryMs = (bucket: FilledBucket): number => 1 / ratePerMs(bucket, KEPT.look, 1);

/** What catch-ups of all modules may spend, credits a millisecond: infinity while the bucket is half full, nothing once it is empty. */
export const catchUpCreditsPerMs = (bucket: FilledBucket): number => ratePerMs(bucket, 0, CATCH_UP_WEIGHT);

function ratePerMs({ capacity, perDay, level }: FilledBucket, from: number, weight: number): number {
  const share = (level / capacity - from) / (FREE_FROM - from);
  if (share >= 1) return Number.POSITIVE_INFINITY;
  return share <= 0 ? 0 : (weight * (perDay / DAY_MS) * share) / (1 - share);
}

/**
 * Whether a module changes faster than looks can follow, were the day's looks shared by all modules alike: then a window of changes is cheaper, at 2,000 rows for
 * three credits.
 * @param recordsPerMs how many records are hinted at.
 */
export function isFlood(bucket: FilledBucket, { recordsPerMs, recordsPerLook, modules }: { readonly recordsPerMs: number; readonly recordsPerLook: number; readonly modules: number }): boolean {
  const looksPerMs = ((1 - CATCH_UP_WEIGHT) * bucket.perDay) / DAY_MS / Math.max(1, modules);
  return isCoarser(bucket) && recordsPerMs > looksPerMs * recordsPerLook;
}

/** What the CRM grants an organisation in 24 hours, by its edition. */
type Grant = { readonly base: number; readonly perUser: number; readonly most: number };
const BASE = 50_000;
const grants: Readonly<Record<string, Grant>> = {
  free: { base: 5_000, perUser: 0, most: 5_000 },
  starter: { base: BASE, perUser: 250, most: 100_000 },
  standard: { base: BASE, perUser: 250, most: 100_000 },
  professional: { base: BASE, perUser: 500, most: 3_000_000 },
  enterprise: { base: BASE, perUser: 1_000, most: 5_000_000 },
  ultimate: { base: BASE, perUser: 2_000, most: Number.POSITIVE_INFINITY },
};

/**
 * The day's credits of an organisation. An edition that is not known has the base of all paid ones.
 * @see https://www.zoho.com/crm/developer/docs/api/v8/api-limits.html
 */
export function creditsOfEdition({ edition, users }: { readonly edition: string; readonly users: number }): number {
  const { base, perUser, most } = grants[edition.toLowerCase()] ?? { base: BASE, perUser: 0, most: BASE };
  return Math.min(base + perUser * users, most);
}
