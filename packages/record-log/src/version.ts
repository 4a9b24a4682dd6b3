/**
 * What decides between two observations of one record: first the CRM's `Modified_Time`, then the later look, then the content
 * hash, so that any two observations compare the same way wherever they are compared. All times are CRM times.
 */
export type Version = {
  /** `Modified_Time`, epoch milliseconds (the CRM resolves seconds). */
  readonly modifiedMs: number;
  /** When the content was certainly the CRM's: see {@link observedAt}. Epoch milliseconds. */
  readonly observedMs: number;
  /** {@link contentHash} of the observed fields: 32 lower-case hex digits. */
  readonly hash: string;
};

/** The span in which the CRM answered: from the start of the answering attempt to its end; epoch milliseconds, CRM time. */
export type LookSpan = { readonly lowerMs: number; readonly upperMs: number };

/** How far clocks inside the CRM may disagree, and a read may lag behind a write. Applied in predicates, never stored. */
export const DEFAULT_EPSILON_MS = 60_000;

/**
 * The time for which a look vouches: the record was seen no earlier than the look began, and no earlier than it was last
 * modified, unless that lies after the look's own end.
 */
export const observedAt = (look: LookSpan, modifiedMs: number): number => Math.max(look.lowerMs, Math.min(modifiedMs, look.upperMs));

/** Negative when `a` loses against `b`, positive when it wins, 0 when they are one and the same. */
export function compareVersions(a: Version, b: Version): number {
  if (a.modifiedMs !== b.modifiedMs) return a.modifiedMs - b.modifiedMs;
  if (a.observedMs !== b.observedMs) return a.observedMs - b.observedMs;
  if (a.hash === b.hash) return 0;
  return a.hash < b.hash ? -1 : 1;
}
