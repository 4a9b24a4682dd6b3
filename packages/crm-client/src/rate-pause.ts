import type { Time } from '@lockstep/telemetry';

import { CrmError } from './errors.ts';
import { notSent } from './gate.ts';

const FIRST_PAUSE_MS = 1_000;
const MAX_PAUSE_MS = 60_000;
/** A limit of seconds has passed by then; what is left is the credits of a day. */
const ONE_A_MINUTE_AFTER_MS = 3 * 60_000;
/** A call that would have to wait longer is refused instead. */
const MAX_WAIT_MS = 5_000;

/**
 * How long nothing is sent after a 429: 1 s, doubled with each further one up to a minute, less up to half of it by chance, so
 * that several processes do not come back at once. After three minutes of refusals: one call a minute.
 * @param refusals 429s in a row, this one included.
 * @param jitter from 0 to 1.
 * @see CRM API reference, "API limits": there is no `Retry-After`.
 */
export function pauseAfterMs(refusals: number, refusedForMs: number, jitter: number): number {
  if (refusedForMs >= ONE_A_MINUTE_AFTER_MS) return MAX_PAUSE_MS;
  return Math.min(FIRST_PAUSE_MS * 2 ** (refusals - 1), MAX_PAUSE_MS) * (1 - jitter / 2);
}

/**
 * The pause of the whole client after a 429: the CRM's limits are the organisation's, so what one call was refused the next one
 * would be too.
 *
 *   open ──429──▶ paused ──time──▶ probing (one call is sent, the others wait for its answer) ──any other answer──▶ open
 *                    ▲                 │
 *                    └───────429───────┘
 */
export class RatePause {
  readonly #time: Time;
  #refusals = 0;
  /** These and the ones below are moments of the monotonic clock. */
  #firstRefusedAt = 0;
  #lastRefusedAt = Number.NEGATIVE_INFINITY;
  #pausedUntil = 0;
  #probe: PromiseWithResolvers<void> | undefined;

  constructor(time: Time) {
    this.#time = time;
  }

  /** True while a call would be refused, rather than wait. */
  get isLong(): boolean {
    return this.#refusals > 0 && this.#pausedUntil - this.#time.elapsed() > MAX_WAIT_MS;
  }

  /**
   * Resolves when a call may be sent. While paused, one call goes ahead of all others.
   * @throws {CrmError} `CRM_RATE_LIMITED` at once where the pause is long; `CRM_UNREACHABLE` when a signal is aborted.
   */
  async pass(signals: readonly AbortSignal[]): Promise<void> {
    while (this.#refusals > 0) {
      const signal = AbortSignal.any([...signals]);
      if (signal.aborted) throw notSent('it was given up during a pause');
      const waitMs = this.#pausedUntil - this.#time.elapsed();
      if (waitMs > MAX_WAIT_MS) throw new CrmError(`the call was not sent: the CRM has refused ${this.#refusals} calls as too many; the next is tried in ${Math.ceil(waitMs / 1000)} s`, 'CRM_RATE_LIMITED');
      if (waitMs > 0) await this.#time.sleep(waitMs, signal);
      else if (this.#probe !== undefined) await orAborted(this.#probe.promise, signal);
      else {
        this.#probe = Promise.withResolvers();
        return;
      }
    }
  }

  /** A call that was sent then was answered with 429. Those that were under way together count as one refusal. */
  refused(sentAt: number): void {
    if (sentAt < this.#lastRefusedAt) return;
    const now = this.#time.elapsed();
    if (this.#refusals === 0) this.#firstRefusedAt = now;
    this.#refusals += 1;
    this.#lastRefusedAt = now;
    this.#pausedUntil = now + pauseAfterMs(this.#refusals, now - this.#firstRefusedAt, this.#time.jitter());
    this.#endProbe();
  }

  /** A call that was sent then was answered, and not with 429. */
  answered(sentAt: number): void {
    if (sentAt < this.#lastRefusedAt) return;
    this.#refusals = 0;
    this.#endProbe();
  }

  /** A call that was sent then had no answer, which says nothing: the next one probes. */
  unanswered(sentAt: number): void {
    if (sentAt >= this.#lastRefusedAt) this.#endProbe();
  }

  #endProbe(): void {
    this.#probe?.resolve();
    this.#probe = undefined;
  }
}

/** Resolves with the promise, or when the signal is aborted. */
function orAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      signal.removeEventListener('abort', end);
      resolve();
    };
    signal.addEventListener('abort', end);
    void promise.then(end); // It never rejects.
  });
}
