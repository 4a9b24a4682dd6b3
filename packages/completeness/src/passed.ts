/** What two readings of one clock may differ by although it was not set. */
const SET_BACK_MS = 60_000;

/**
 * Whether a span has passed since something was noted. A note that seems to lie in the future was made before the clock was set back: how
 * long ago is unknown, so the span counts as passed, and the time is noted again.
 * @param sinceMs and `nowMs`: of one and the same clock.
 */
export const hasPassed = (sinceMs: number, spanMs: number, nowMs: number): boolean => nowMs >= sinceMs + spanMs || nowMs < sinceMs - SET_BACK_MS;
