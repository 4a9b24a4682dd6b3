import type { Time } from '@lockstep/telemetry';

import { httpDateMs } from './http-date.ts';
import { type Bounds, Candidate, isNear, least, OffsetWindow, TOLERANCE_MS } from './offset-window.ts';

/*
 * What time it is in the CRM. Three sources bound each other:
 *
 *   the reply's Date      the CRM's own time, but any host may be wrong, and so may a single reply
 *   the wall clock        may be wrong from the start, and may be set at any moment, in the middle of a call too
 *   the monotonic clock   is never set, but does not know the epoch, and stands still while some machines sleep
 *
 * Every reply says between which bounds the offset from the monotonic clock to the CRM's lies. It is established once a `Date`
 * and the wall clock agree, and the database's clock with them, where it is known: a process that begins knows nothing yet that one wrong
 * reply and one wrong clock could contradict. Until then the earliest of all counts. From then on
 *
 *   Date near the established offset    accepted, whatever the wall clock says: two against one
 *   any other Date                      refused: this reply counts as made at the earliest of what the sources say
 *   the same other offset, 5 replies over a minute, without one reply that fits the established offset
 *     and near the wall clock           established: the monotonic clock stood still, or both others were put right
 *     and near the database's, if
 *     nothing is established yet        established: the wall clock is the one that is wrong
 *     and earlier                       established: it is what the CRM stamps with, and an earlier claim is never wrong
 *     and later                         refused for as long as it lasts: one source alone moves no claim forward
 *
 * So no source alone makes a time later than it is, and every contradiction heals a minute after it has ended.
 */

/** Between which CRM times something happened, epoch milliseconds; where the clocks contradict each other, earlier than it did. */
export type Observed = { readonly lowerMs: number; readonly upperMs: number };

/** What time it is in the CRM, epoch milliseconds. */
export type CrmTime = {
  /** The least that the sources allow: what is claimed up to now is not claimed beyond this. */
  readonly earliestMs: number;
  /** The most that they allow: what lies after this has not happened. */
  readonly latestMs: number;
  /** What lies after this was never stamped: later than `latestMs` where the CRM's clock was set back, and had reached more before. */
  readonly stampedUpToMs: number;
  /** Whether two sources agree on `earliestMs`, and the latest reply did not contradict them. */
  readonly isFirm: boolean;
};

/** Which source contradicts the others, and by how much; for metrics and people. */
export type ClockReport = {
  readonly differs: 'date' | 'wall' | 'monotonic' | null;
  /** How far the latest reply's `Date` is ahead of the time that is believed; null while none had one. */
  readonly dateAheadMs: number | null;
  readonly wallAheadMs: number;
  /** Replies whose `Date` was refused since the start. */
  readonly refused: number;
};

/** Our two clocks, read at one moment. */
export type Moment = { readonly wallMs: number; readonly elapsedMs: number };

/** Reads both clocks. */
export const momentOf = (time: Pick<Time, 'now' | 'elapsed'>): Moment => ({ wallMs: time.now(), elapsedMs: time.elapsed() });

/** The CRM times of a span of ours, by the bounds that {@link CrmClock.learn} gave. */
export const observedBetween = (sent: Moment, ended: Moment, { low, high }: Bounds): Observed => ({ lowerMs: Math.floor(sent.elapsedMs + low), upperMs: Math.ceil(ended.elapsedMs + high) });

/** What is further off an established time than any time zone or slipped day is no time: it says nothing, not even that it is earlier. */
const PLAUSIBLE_MS = 26 * 3_600_000;

/** Bounds CRM time by three sources, see above. One per process: all its calls teach it. */
export class CrmClock {
  readonly #witness: Bounds | undefined;
  #established: OffsetWindow | undefined;
  #candidate: Candidate | undefined;
  /** What the latest reply said, if it was refused. */
  #contradiction: Bounds | null = null;
  #latestDate: Bounds | null = null;
  /** The wall clock's offset from the monotonic one when it agreed with a Date last. */
  #agreedWallMs = Number.NaN;
  #trustedWallMs = Number.NaN;
  #wallMovedAtMs: number | null = null;
  /** What the CRM's clock had reached, by an offset that was established and is no longer. */
  #reachedMs = Number.NEGATIVE_INFINITY;
  #refused = 0;

  /** @param witness how far the database's clock was ahead of our monotonic one when the process began. */
  constructor(witness?: Bounds) {
    this.#witness = witness;
  }

  /**
   * Learns from a reply.
   * @param arrived when its headers had come.
   * @param date its `Date` header; null where there is none.
   * @returns the bounds that hold for this reply, for {@link observedBetween}.
   */
  learn(sent: Moment, arrived: Moment, date: string | null): Bounds {
    const wallMs = this.#readWall(arrived);
    const dateMs = date === null ? Number.NaN : httpDateMs(date);
    if (Number.isNaN(dateMs)) return this.#now(wallMs);
    // The header is cut to whole seconds, and was written between the two moments.
    const read = { low: dateMs - arrived.elapsedMs, high: dateMs + 1000 - sent.elapsedMs };
    this.#latestDate = read;
    if (this.#isAccepted(read, wallMs)) this.#accept(read, wallMs);
    else this.#refuse(read, wallMs, arrived.elapsedMs);
    return this.#now(wallMs);
  }

  /** What time it is in the CRM. */
  time(moment: Moment): CrmTime {
    const wallMs = this.#readWall(moment);
    const { low } = this.#now(wallMs);
    const latestMs = Math.ceil(moment.elapsedMs + this.#latest(wallMs));
    const stampedUpToMs = Math.max(latestMs, this.#reachedBy(moment.elapsedMs, wallMs));
    return { earliestMs: Math.floor(moment.elapsedMs + low), latestMs, stampedUpToMs, isFirm: this.#established !== undefined && this.#contradiction === null };
  }

  report(moment: Moment): ClockReport {
    const wallMs = this.#readWall(moment);
    const { high: believedMs } = this.#now(wallMs);
    return {
      differs: this.#differs(wallMs),
      dateAheadMs: this.#latestDate === null ? null : Math.round(this.#latestDate.high - believedMs),
      wallAheadMs: Math.round(wallMs - believedMs),
      refused: this.#refused,
    };
  }

  #isAccepted(read: Bounds, wallMs: number): boolean {
    if (this.#established === undefined) return isNear(read, at(wallMs)) && (this.#witness === undefined || isNear(read, this.#witness));
    // A Date that creeps ahead of a wall clock which was not set is the one that is wrong.
    const hasCrept = read.low > wallMs + TOLERANCE_MS && Math.abs(wallMs - this.#agreedWallMs) <= TOLERANCE_MS;
    return isNear(read, this.#established.bounds) && !hasCrept;
  }

  #accept(read: Bounds, wallMs: number): void {
    if (this.#established === undefined) this.#established = new OffsetWindow(read);
    else this.#established.add(read);
    this.#candidate = undefined;
    this.#contradiction = null;
    if (isNear(read, at(wallMs))) this.#agreedWallMs = wallMs;
  }

  #refuse(read: Bounds, wallMs: number, elapsedMs: number): void {
    this.#refused += 1;
    this.#contradiction = read;
    if (this.#candidate !== undefined && isNear(read, this.#candidate.window.bounds)) this.#candidate.add(read, elapsedMs);
    else this.#candidate = new Candidate(read, elapsedMs);
    if (!this.#candidate.isPersistent || !this.#mayMoveTo(this.#candidate.window.bounds, wallMs)) return;
    this.#reachedMs = Math.max(this.#reachedBy(elapsedMs, wallMs), elapsedMs + (this.#established?.bounds.high ?? Number.NEGATIVE_INFINITY));
    this.#established = this.#candidate.window;
    this.#candidate = undefined;
    this.#contradiction = null;
    if (isNear(read, at(wallMs))) this.#agreedWallMs = wallMs;
  }

  #mayMoveTo(bounds: Bounds, wallMs: number): boolean {
    if (this.#established === undefined && this.#witness !== undefined && isNear(bounds, this.#witness)) return true;
    const reference = this.#established?.bounds ?? at(wallMs);
    return isNear(bounds, at(wallMs)) || (bounds.high < reference.low && isPlausible(bounds, reference));
  }

  /** The bounds at this moment: the established ones, or the earliest of all while something contradicts them. */
  #now(wallMs: number): Bounds {
    const established = this.#established?.bounds;
    if (established !== undefined && this.#contradiction === null) return established;
    // Nothing but the wall clock: a minute early.
    const wall = { low: Math.min(wallMs, this.#trustedWallMs) - TOLERANCE_MS, high: Math.min(wallMs, this.#trustedWallMs) };
    const said = [...(this.#contradiction === null ? [] : [this.#contradiction]), ...(established === undefined || !isNear(wall, established) ? [wall] : [])];
    if (established === undefined && this.#witness !== undefined) said.push({ low: this.#witness.low - TOLERANCE_MS, high: this.#witness.high });
    return established === undefined ? least(...said) : least(established, ...said.filter((bounds) => isPlausible(bounds, established)));
  }

  #latest(wallMs: number): number {
    const reference = this.#established?.bounds ?? at(wallMs);
    const said = [at(wallMs), ...(this.#established === undefined && this.#contradiction !== null ? [this.#contradiction] : [])];
    return Math.max(reference.high, ...said.filter((bounds) => isPlausible(bounds, reference)).map(({ high }) => high));
  }

  /** What the CRM's clock had reached before this process, by the database's; or before it was set back. */
  #reachedBy(elapsedMs: number, wallMs: number): number {
    const isWitnessed = this.#established === undefined && this.#witness !== undefined && isPlausible(this.#witness, at(wallMs));
    return Math.max(this.#reachedMs, isWitnessed ? elapsedMs + (this.#witness?.high ?? 0) : Number.NEGATIVE_INFINITY);
  }

  #differs(wallMs: number): ClockReport['differs'] {
    if (this.#contradiction !== null) return isNear(this.#contradiction, at(wallMs)) ? 'monotonic' : 'date';
    return this.#established !== undefined && !isNear(this.#established.bounds, at(wallMs)) ? 'wall' : null;
  }

  /**
   * The wall clock's offset from the monotonic one. Until a Date bounds it, one that was set forward is believed when it has stood
   * for a minute.
   */
  #readWall({ wallMs, elapsedMs }: Moment): number {
    const offsetMs = wallMs - elapsedMs;
    const isMoved = Math.abs(offsetMs - this.#trustedWallMs) > TOLERANCE_MS;
    this.#wallMovedAtMs = isMoved ? (this.#wallMovedAtMs ?? elapsedMs) : null;
    if (this.#wallMovedAtMs === null || elapsedMs - this.#wallMovedAtMs >= TOLERANCE_MS) this.#trustedWallMs = offsetMs;
    return offsetMs;
  }
}

const at = (offsetMs: number): Bounds => ({ low: offsetMs, high: offsetMs });

const isPlausible = (bounds: Bounds, reference: Bounds): boolean => Math.abs(bounds.high - reference.high) <= PLAUSIBLE_MS;
