/** The organisation's credits of the last 24 hours, as far as they are known. */
export type Credits = {
  /** Null: not known, so there is no budget. */
  readonly perDay: number | null;
  /** Share of the day that is left to others, from 0 to 1. */
  readonly reserve: number;
  /** What this installation spent. */
  readonly spent: number;
  /** How much of that went into catch-ups. */
  readonly spentOnCatchUps: number;
  /** What the CRM says is left to everybody; null while it does not say. */
  readonly remaining: number | null;
};

/** A read in bulk before it begins. */
export type BulkPlan = { readonly rows: number; readonly pages: number; readonly credits: number };

const DAY_MS = 86_400_000;
/** A window of up to 200 rows, and a page of the deleted list. */
const CATCH_UP_CREDITS = 1 + 2;
const MAX_INTERVAL_MS = 30 * 60_000;

const ROWS_A_PAGE = 200_000;
const JOB_CREDITS = 50;
/** A page of 200,000 rows takes about half a minute, and is asked about ever less often. */
const POLLS_A_PAGE = 25;
const DOWNLOAD_CREDITS = 1;

/** What is left of the day: by our own count, or less where the CRM says so, for others spend too. Null without a budget. */
export function creditsLeft({ perDay, spent, remaining }: Credits): number | null {
  if (perDay === null) return null;
  return Math.min(perDay - spent, remaining ?? Number.POSITIVE_INFINITY);
}

/** What may be spent before the reserve is touched; below zero when it is. Infinity without a budget. */
export function aboveReserve(credits: Credits): number {
  const left = creditsLeft(credits);
  return left === null ? Number.POSITIVE_INFINITY : left - (credits.perDay ?? 0) * credits.reserve;
}

/** Whether the reserve is touched: then only looks and a catch-up each half hour go on. */
export const isLow = (credits: Credits): boolean => aboveReserve(credits) <= 0;

/**
 * From one catch-up of a module to the next: as short as wanted, if a day of it fits into what is above the reserve and what
 * catch-ups have used themselves; else longer, up to half an hour. It depends on the last day's use alone, so it does not
 * swing with its own effect.
 * @param intervalMs the wanted one.
 * @param modules how many are caught up.
 */
export function catchUpIntervalMs(credits: Credits, { intervalMs, modules }: { readonly intervalMs: number; readonly modules: number }): number {
  if (isLow(credits)) return Math.max(intervalMs, MAX_INTERVAL_MS);
  const usable = aboveReserve(credits) + credits.spentOnCatchUps;
  const affordableMs = (modules * CATCH_UP_CREDITS * DAY_MS) / usable;
  return Math.max(intervalMs, Math.min(Math.ceil(affordableMs), MAX_INTERVAL_MS));
}

/** What reading so many rows in bulk takes, at most: a job of 50 credits a page, the questions whether it has ended, the download. */
export function bulkPlan(rows: number): BulkPlan {
  const pages = Math.max(1, Math.ceil(rows / ROWS_A_PAGE));
  return { rows, pages, credits: pages * (JOB_CREDITS + POLLS_A_PAGE + DOWNLOAD_CREDITS) };
}

/** Whether a read leaves the reserve alone. */
export const isAffordable = (credits: Credits, plan: Pick<BulkPlan, 'credits'>): boolean => plan.credits <= aboveReserve(credits);
