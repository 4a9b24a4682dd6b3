import type { CatchUpRules } from './catch-up-plan.ts';

/** The organisation's credits of the last 24 hours, as far as they are known. */
export type Credits = {
  /** Null: not known, so there is no budget. */
  readonly perDay: number | null;
  /** Share of the day that is left to others, from 0 to 1. */
  readonly reserve: number;
  /** What this installation spent. */
  readonly spent: number;
  /** What the CRM says is left to everybody; null while it does not say. */
  readonly remaining: number | null;
};

/** A read in bulk before it begins. */
export type BulkPlan = { readonly rows: number; readonly pages: number; readonly credits: number };

/** A window of up to 200 rows, and a page of the deleted list. */
const CATCH_UP_CREDITS = 1 + 2;
const MAX_INTERVAL_MS = 6 * 3_600_000;

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

/** Whether the reserve is touched: by others, for what this installation spends stays above it. */
export const isLow = (credits: Credits): boolean => aboveReserve(credits) <= 0;

/** How fast a module changes, as its latest windows showed: records a millisecond. */
export type ChangeRate = number;

/** Windows with more rows go on in bulk, which costs a job besides. */
const MAX_WINDOW_ROWS = 33_000;
const SMALL_PAGE_ROWS = 200;
const PAGE_ROWS = 2_000;
const PAGE_CREDITS = 3;

/** What a catch-up costs that finds so many rows: a first page of 200, further ones of 2,000, a page of the deleted list; above 33,000 rows a bulk job as well. */
export function catchUpCredits(rows: number): number {
  const pages = Math.ceil(Math.max(0, Math.min(rows, MAX_WINDOW_ROWS) - SMALL_PAGE_ROWS) / PAGE_ROWS);
  return CATCH_UP_CREDITS + pages * PAGE_CREDITS + (rows > MAX_WINDOW_ROWS ? bulkPlan(rows).credits : 0);
}

/** The interval grows by as much until it can be paid for. */
const STEP = 1.1;
const LATE_ROWS_MS = 30 * 60_000;

/**
 * The rules of catch-ups that so many credits can pay for: those that are wanted, or a longer interval, up to six hours. The hourly pass over 90 minutes becomes rarer
 * with it, and then goes back over as much more, so that it still catches what becomes visible half an hour late.
 * @param creditsPerMs of all modules together; infinity without a budget.
 * @param rates one for each module.
 */
export function affordableRules<T extends Pick<CatchUpRules, 'intervalMs' | 'secondPassEveryMs' | 'secondPassOverMs' | 'marginMs'>>(wanted: T, creditsPerMs: number, rates: readonly ChangeRate[]): T {
  let rules = wanted;
  const mostMs = Math.max(wanted.intervalMs, MAX_INTERVAL_MS);
  for (let intervalMs = wanted.intervalMs; costPerMs(rules, rates) > creditsPerMs && intervalMs < mostMs; ) {
    intervalMs = Math.min(Math.ceil(intervalMs * STEP), mostMs);
    const secondPassEveryMs = Math.max(wanted.secondPassEveryMs, intervalMs);
    rules = { ...wanted, intervalMs, secondPassEveryMs, secondPassOverMs: Math.max(wanted.secondPassOverMs, secondPassEveryMs + LATE_ROWS_MS) };
  }
  return rules;
}

function costPerMs({ intervalMs, secondPassEveryMs, secondPassOverMs, marginMs }: Pick<CatchUpRules, 'intervalMs' | 'secondPassEveryMs' | 'secondPassOverMs' | 'marginMs'>, rates: readonly ChangeRate[]): number {
  const passes = Math.min(1, intervalMs / secondPassEveryMs);
  const costOf = (rate: ChangeRate): number => (1 - passes) * catchUpCredits(rate * (intervalMs + marginMs)) + passes * catchUpCredits(rate * secondPassOverMs);
  return rates.reduce((sum, rate) => sum + costOf(rate), 0) / intervalMs;
}

/** What reading so many rows in bulk takes, at most: a job of 50 credits a page, the questions whether it has ended, the download. */
export function bulkPlan(rows: number): BulkPlan {
  const pages = Math.max(1, Math.ceil(rows / ROWS_A_PAGE));
  return { rows, pages, credits: pages * (JOB_CREDITS + POLLS_A_PAGE + DOWNLOAD_CREDITS) };
}

/** Whether a read leaves the reserve alone. */
export const isAffordable = (credits: Credits, plan: Pick<BulkPlan, 'credits'>): boolean => plan.credits <= aboveReserve(credits);
