import { hasPassed } from './passed.ts';
import { WATERMARK_MARGIN_MS, wholeSecond } from './watermark.ts';

/** What a catch-up is to read. Both bounds are inclusive, whole seconds, epoch milliseconds of the CRM. */
export type CatchUpPlan = {
  readonly fromMs: number;
  /** Where the reading of the deleted list begins. */
  readonly deletedFromMs: number;
  /** Whether it goes back further than it has to, for what became visible late. */
  readonly isSecondPass: boolean;
  /** Whether the whole deleted list is read: what has left it was restored. */
  readonly isRestoreScan: boolean;
};

/** When catch-ups of a module began last, by the clock that noted it; null for never. */
export type CatchUpHistory = { readonly lastStartedMs: number | null; readonly lastSecondPassMs: number | null; readonly lastRestoreScanMs: number | null };

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
  if (!isDue(history.lastStartedMs, rules.intervalMs)) return null;
  const isSecondPass = isDue(history.lastSecondPassMs, rules.secondPassEveryMs);
  const fromMs = isSecondPass ? Math.min(watermarkMs, wholeSecond(crmMs - rules.secondPassOverMs)) : watermarkMs;
  const isRestoreScan = isDue(history.lastRestoreScanMs, rules.restoreScanEveryMs);
  // Before the first catch-up no deletion is known that could have been taken back.
  const deletedFromMs = isRestoreScan && history.lastStartedMs !== null ? Math.min(fromMs, wholeSecond(crmMs - RESTORABLE_MS)) : fromMs;
  return { fromMs, deletedFromMs: deletedFromMs - DELETED_OVERLAP_MS, isSecondPass, isRestoreScan };
}
