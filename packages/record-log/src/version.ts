/**
 * What decides between two observations of one record: first the version's time (the CRM's `Modified_Time`, but for a repair),
 * then the later look, then the content hash, so that any two observations compare the same way wherever they are compared.
 * All times are CRM times.
 */
export type Version = {
  /** `Modified_Time` as it was read, epoch milliseconds (the CRM resolves seconds). */
  readonly modifiedMs: number;
  /** The time it competes with, where that is greater than its `Modified_Time`: in a repair, and what confirms one. */
  readonly versionMs?: number;
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

/** The time a version competes with. */
export const versionTime = ({ modifiedMs, versionMs }: Pick<Version, 'modifiedMs' | 'versionMs'>): number => versionMs ?? modifiedMs;

/** Negative when `a` loses against `b`, positive when it wins, 0 when they are one and the same. */
export function compareVersions(a: Version, b: Version): number {
  const byTime = versionTime(a) - versionTime(b);
  if (byTime !== 0) return byTime;
  if (a.observedMs !== b.observedMs) return a.observedMs - b.observedMs;
  if (a.hash !== b.hash) return a.hash < b.hash ? -1 : 1;
  // A repair and a plain observation may agree in all of that, and not in the time they show.
  return a.modifiedMs - b.modifiedMs;
}
