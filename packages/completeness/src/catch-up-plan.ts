import { wholeSecond } from './watermark.ts';

/** What a catch-up is to read. Both bounds are inclusive, whole seconds, epoch milliseconds of the CRM. */
export type CatchUpPlan = {
  readonly fromMs: number;
  /** Where the reading of the deleted list begins. */
  readonly deletedFromMs: number;
  /** Whether it goes back further than it has to, for what became visible late. */
  readonly isSecondPass: boolean;
};

/** When catch-ups of a module began last; null for never. */
export type CatchUpHistory = { readonly lastStartedMs: number | null; readonly lastSecondPassMs: number | null };

export type CatchUpRules = {
  readonly intervalMs: number;
  readonly secondPassEveryMs: number;
  readonly secondPassOverMs: number;
};

/** Every two minutes; each hour over the last 90 minutes. */
export const defaultCatchUpRules: CatchUpRules = { intervalMs: 120_000, secondPassEveryMs: 3_600_000, secondPassOverMs: 5_400_000 };

/** The list of deletions has whole seconds and may lag: it is read from a little before. */
const DELETED_OVERLAP_MS = 60_000;

/**
 * What to read now, if anything. It never depends on somebody having noticed a gap: a catch-up begins where the claim ends,
 * whatever happened in between.
 */
export function dueCatchUp(nowMs: number, watermarkMs: number, history: CatchUpHistory, rules: CatchUpRules = defaultCatchUpRules): CatchUpPlan | null {
  if (history.lastStartedMs !== null && nowMs < history.lastStartedMs + rules.intervalMs) return null;
  const isSecondPass = history.lastSecondPassMs === null || nowMs >= history.lastSecondPassMs + rules.secondPassEveryMs;
  const fromMs = isSecondPass ? Math.min(watermarkMs, wholeSecond(nowMs - rules.secondPassOverMs)) : watermarkMs;
  return { fromMs, deletedFromMs: fromMs - DELETED_OVERLAP_MS, isSecondPass };
}
