/** What two readings of one clock may differ by although it was not set. */
const SET_BACK_MS = 60_000;

/**
 * Whether a span has passed since something was noted. What was noted in a time to come was noted before the clock was set back: no
 * one knows how long ago, so it counts as passed, and is noted again.
 * @param sinceMs and `nowMs`: of one and the same clock.
 */
export const hasPassed = (sinceMs: number, spanMs: number, nowMs: number): boolean => nowMs >= sinceMs + spanMs || nowMs < sinceMs - SET_BACK_MS;
