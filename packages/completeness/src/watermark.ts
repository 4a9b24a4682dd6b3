/**
 * How far before its own start a reading may claim anything: rows become visible late, and the CRM's clocks differ. What is
 * visible later still is the second pass's.
 */
export const WATERMARK_MARGIN_MS = 120_000;

/** What a complete reading of a module covered; epoch milliseconds of the CRM. */
export type Reading = {
  /** Every record with a `Modified_Time` from here on was requested. Minus infinity: all of them. */
  readonly fromMs: number;
  /** Not later than the beginning of its first call. */
  readonly startedMs: number;
  /** The least that the time can be now: a reading that says it began later had a wrong clock. */
  readonly nowMs: number;
  /** Whether the deleted list was read over the same time. */
  readonly isWithDeletions: boolean;
};

/**
 * The watermark W after a reading: "every change that moved `Modified_Time` before W, and every deletion before W, is in the
 * log". A reading that began above W leaves a hole below itself, so it claims nothing.
 * @param watermarkMs whole seconds, as the CRM compares them; null before the first claim.
 */
export function advanced(watermarkMs: number | null, { fromMs, startedMs, nowMs, isWithDeletions }: Reading, marginMs = WATERMARK_MARGIN_MS): number | null {
  const isConnected = fromMs === Number.NEGATIVE_INFINITY || (watermarkMs !== null && fromMs <= watermarkMs);
  if (!isConnected || !isWithDeletions) return watermarkMs;
  return Math.max(watermarkMs ?? Number.NEGATIVE_INFINITY, wholeSecond(Math.min(startedMs, nowMs) - marginMs));
}

/** The CRM compares whole seconds, so a bound is cut down to one. */
export const wholeSecond = (ms: number): number => Math.floor(ms / 1000) * 1000;
