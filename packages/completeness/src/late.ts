import type { CatchUpRules } from './catch-up-plan.ts';

const INTERVALS = 5;
const AT_LEAST_MS = 600_000;

/** How long no catch-up may be completed before that is worth a person's attention. */
export const lateAfterMs = ({ intervalMs }: Pick<CatchUpRules, 'intervalMs'>): number => Math.max(INTERVALS * intervalMs, AT_LEAST_MS);

/**
 * Whether no catch-up has been completed for too long, whatever the reason.
 * @param readUpToMs how far the latest complete reading went; null before the first load.
 */
export const isLate = (readUpToMs: number | null, nowMs: number, rules: Pick<CatchUpRules, 'intervalMs'>): boolean => readUpToMs !== null && nowMs - readUpToMs > lateAfterMs(rules);
