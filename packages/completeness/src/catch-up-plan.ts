import { hasPassed } from './passed.ts';
import { WATERMARK_MARGIN_MS, wholeSecond } from './watermark.ts';

/** What a catch-up is to read. Both bounds are inclusive, whole seconds, epoch milliseconds of the CRM. */
export type CatchUpPlan = {
  readonly fromMs: number;
  /** Where the reading of the deleted list begins. */
  readonly deletedFromMs: number;
  /** Whether it goes back further than it has to, for what became visible late. */
  readonly isSecondPass: boolean;
  /** Whether the whole deleted list is to have been read: what has left it was restored. */
  readonly isRestoreScan: boolean;
  /** Where a reading of the deleted list for restores begins, after the other one; null for none. */
  readonly scanFromMs: number | null;
};

/** When catch-ups of a module began last, by the clock that noted it; null for never. */
export type CatchUpHistory = {
  readonly lastStartedMs: number | null;
  readonly lastSecondPassMs: number | null;
  /** The last one that was read over its whole depth. */
  readonly lastRestoreScanMs: number | null;
  /** The last one that was tried. */
  readonly lastScanTriedMs?: number | null;
  /** How many have failed in a row. */
  readonly failures?: number;
};

export type CatchUpRules = {
  readonly intervalMs: number;
  readonly secondPassEveryMs: number;
  readonly secondPassOverMs: number;
  readonly restoreScanEveryMs: number;
  /** How far before its own start a reading may claim anything. */
  readonly marginMs: number;
};

/** Every two minutes; each hour over the last 90 minutes; each day all deletions that the CRM still lists. */
export const defaultCatchUpRules: CatchUpRules = { intervalMs: 120_000, secondPassEveryMs: 3_600_000, secondPassOverMs: 5_400_000, restoreScanEveryMs: 86_400_000, marginMs: WATERMARK_MARGIN_MS };

/** The CRM can restore a record for 60 days after its deletion. */
const RESTORABLE_MS = 60 * 86_400_000;
/** A scan that failed is tried again by itself, so many times as often. */
const SCAN_TRIES = 8;
/** A catch-up that failed is tried again sooner than the next one would be due, and later with each further failure. */
const FIRST_RETRY_MS = 10_000;
const MAX_RETRY_INTERVALS = 2;

/** From one catch-up to the next, after so many failures in a row. */
export const retryAfterMs = (failures: number, intervalMs: number): number =>
  failures === 0 ? intervalMs : Math.min(Math.min(FIRST_RETRY_MS, intervalMs) * 2 ** (failures - 1), intervalMs * MAX_RETRY_INTERVALS);

/** The list of deletions has whole seconds and may lag: it is read from a little before. */
const DELETED_OVERLAP_MS = 60_000;

/** The two clocks that a plan needs, epoch milliseconds: the one that notes when catch-ups begin, and the CRM's, which windows are of. */
export type PlanTimes = { readonly nowMs: number; readonly crmMs: number };

/**
 * What to read now, if anything. It never depends on a gap being noticed: a catch-up begins where the claim ends,
 * whatever happened in between.
 * @param times `crmMs` is not later than it is: a window that reaches too far back only costs rows.
 */
export function dueCatchUp({ nowMs, crmMs }: PlanTimes, watermarkMs: number, history: CatchUpHistory, rules: CatchUpRules = defaultCatchUpRules): CatchUpPlan | null {
  const isDue = (lastMs: number | null, everyMs: number): boolean => lastMs === null || hasPassed(lastMs, everyMs, nowMs);
  if (!isDue(history.lastStartedMs, retryAfterMs(history.failures ?? 0, rules.intervalMs))) return null;
  const isSecondPass = isDue(history.lastSecondPassMs, rules.secondPassEveryMs);
  const fromMs = isSecondPass ? Math.min(watermarkMs, wholeSecond(crmMs - rules.secondPassOverMs)) : watermarkMs;
  const isRestoreScan = isDue(history.lastRestoreScanMs, rules.restoreScanEveryMs) && isDue(history.lastScanTriedMs ?? null, rules.restoreScanEveryMs / SCAN_TRIES);
  // Before the first catch-up no deletion is known that could have been taken back.
  const isScanned = isRestoreScan && history.lastStartedMs !== null;
  return { fromMs, deletedFromMs: fromMs - DELETED_OVERLAP_MS, isSecondPass, isRestoreScan, scanFromMs: isScanned ? Math.min(fromMs, wholeSecond(crmMs - RESTORABLE_MS)) - DELETED_OVERLAP_MS : null };
}
