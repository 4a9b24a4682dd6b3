import type { Time } from '@lockstep/telemetry';

export type LookPaceOptions = {
  /** Shortest time between the starts of two looks that are not full. */
  readonly intervalMs: number;
  readonly idsPerLook: number;
  /** How long looks wait for each other as credits are scarce, full ones too; 0 while they are not, infinity while there are none. */
  readonly lingerMs?: () => number;
  readonly time: Time;
};

/** What waits for a look. */
export type Waiting = { readonly waiting: number; readonly suspects: number };

const MAX_IN_FLIGHT = 2;
/** What passes by itself is tried again within half a minute; what lasts costs a few hundred calls a day, no more. */
const MAX_PAUSE_MS = { passing: 30_000, lasting: 300_000 };
/** What credits allow changes while a look waits for them. */
const MAX_WAIT_MS = 10_000;
/** From one look at a record that was kept aside to the next; doubled while they fail. */
const SUSPECT_EVERY_MS = 1_000;
const MAX_SUSPECT_EVERY_MS = 120_000;

/** When a module's next look is due: at once after a quiet time, in full queries under load, at the pace that credits allow, and after a growing pause while looks fail. */
export class LookPace {
  readonly #options: LookPaceOptions;
  #inFlight = 0;
  #lastStart = Number.NEGATIVE_INFINITY;
  #failures = 0;
  #pausedUntil = 0;
  #suspectFailures = 0;
  #nextSuspectAt = 0;

  constructor(options: LookPaceOptions) {
    this.#options = options;
  }

  get isFailing(): boolean {
    return this.#failures > 0;
  }

  /** Failures in a row. */
  get failures(): number {
    return this.#failures;
  }

  /** How long looks wait for credits, milliseconds. */
  get lingerMs(): number {
    return this.#options.lingerMs?.() ?? 0;
  }

  /** Milliseconds until the next look, or until it may be another time; null while there is nothing to look at, or enough looks are under way. */
  waitMs({ waiting, suspects }: Waiting): number | null {
    const { intervalMs, idsPerLook, time } = this.#options;
    // While they fail, one at a time shows whether they do still.
    if (this.#inFlight >= (this.isFailing ? 1 : MAX_IN_FLIGHT) || waiting + suspects === 0) return null;
    const { lingerMs } = this;
    const nextAt = this.#lastStart + Math.max(intervalMs, lingerMs);
    const queueAt = waiting === 0 ? Number.POSITIVE_INFINITY : waiting >= idsPerLook && lingerMs === 0 ? 0 : nextAt;
    const suspectAt = suspects === 0 ? Number.POSITIVE_INFINITY : Math.max(this.#nextSuspectAt, nextAt);
    return Math.min(Math.max(this.#pausedUntil, Math.min(queueAt, suspectAt)) - time.elapsed(), lingerMs > MAX_WAIT_MS ? MAX_WAIT_MS : Number.POSITIVE_INFINITY);
  }

  /** Whether the next look is one at a record that was kept aside. */
  isSuspectsTurn({ waiting, suspects }: Waiting): boolean {
    return suspects > 0 && (waiting === 0 || this.#options.time.elapsed() >= this.#nextSuspectAt);
  }

  begin(): void {
    this.#inFlight += 1;
    this.#lastStart = this.#options.time.elapsed();
  }

  end(): void {
    this.#inFlight -= 1;
  }

  succeeded(): void {
    this.#failures = 0;
  }

  /** A look at a record has failed, perhaps by chance: the next one comes a little later. */
  suspected(): void {
    this.#nextSuspectAt = Math.max(this.#nextSuspectAt, this.#options.time.elapsed() + SUSPECT_EVERY_MS);
  }

  lookedAtSuspect(isRead: boolean): void {
    this.#suspectFailures = isRead ? 0 : this.#suspectFailures + 1;
    this.#nextSuspectAt = this.#options.time.elapsed() + Math.min(SUSPECT_EVERY_MS * 2 ** this.#suspectFailures, MAX_SUSPECT_EVERY_MS);
  }

  /** @returns how long nothing is looked at, milliseconds. */
  failed(isLasting: boolean): number {
    const { time } = this.#options;
    this.#failures = Math.min(this.#failures + 1, 20);
    const pauseMs = Math.min(500 * 2 ** this.#failures, isLasting ? MAX_PAUSE_MS.lasting : MAX_PAUSE_MS.passing) * (0.5 + time.jitter() / 2);
    this.#pausedUntil = time.elapsed() + pauseMs;
    return pauseMs;
  }
}
