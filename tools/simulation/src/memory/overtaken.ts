import { STALE_AT_MOST_MS } from '@lockstep/completeness';
import { compareVersions, isAlive, type Register } from '@lockstep/record-log';

type Held = Pick<Register, 'live' | 'deletedMs' | 'listedMs'>;

/**
 * What the register says about something parked. "Later in the log" says nothing: versions are compared.
 *
 *   overtaken   The register has this version or a newer one, this deletion or a later one; or its look began so much later that it
 *               cannot have seen an older state: the record returned to a content that stands.
 *   moot        The record is dead after this content, by its deletion or by a list that still names it later, or lives after this
 *               deletion. It no longer counts as parked, but is applied once it fits: the row of a deleted record is the fold of the log
 *               as well.
 */
export type Judgement = 'open' | 'overtaken' | 'moot';

export function judge(parked: Held & { readonly parkedMs: number }, held: Held, epsilonMs: number): Judgement {
  const { live, deletedMs = Number.NEGATIVE_INFINITY, listedMs = Number.NEGATIVE_INFINITY } = held;
  if (parked.live === undefined) {
    if (deletedMs >= (parked.deletedMs ?? 0)) return 'overtaken';
    return isAlive({ ...(live && { live }), ...parked }, epsilonMs) ? 'moot' : 'open';
  }
  const observedMs = parkedObservedMs(parked.live, parked.parkedMs);
  if (live !== undefined && (compareVersions(live, parked.live) >= 0 || live.observedMs > observedMs + STALE_AT_MOST_MS)) return 'overtaken';
  return !isAlive(held, epsilonMs) && (observedMs <= deletedMs + epsilonMs || listedMs > observedMs + epsilonMs) ? 'moot' : 'open';
}

/** No content is older than its own Modified_Time, whatever the clock of the look said, unless that time had not come when it was parked. */
export const parkedObservedMs = ({ observedMs, modifiedMs }: Pick<NonNullable<Register['live']>, 'observedMs' | 'modifiedMs'>, parkedMs: number): number => Math.max(observedMs, Math.min(modifiedMs, parkedMs));

/** Whether another content that is parked shows this one to be outdated: it was seen alive after this deletion, or so much later that it cannot have seen an older state. */
export function isOutdated(one: { readonly register: Held; readonly parkedMs: number }, other: { readonly register: Held }, epsilonMs: number): boolean {
  const { live, deletedMs = Number.POSITIVE_INFINITY } = one.register;
  const atLeastMs = live === undefined ? deletedMs + epsilonMs : parkedObservedMs(live, one.parkedMs) + STALE_AT_MOST_MS;
  return (other.register.live?.observedMs ?? Number.NEGATIVE_INFINITY) > atLeastMs;
}
