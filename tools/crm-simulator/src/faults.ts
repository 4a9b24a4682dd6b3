import { type Random, seededRandom } from './random.ts';

/** What may go wrong with the calls to the CRM; probabilities from 0 to 1. */
export type ApiFaults = {
  /** Answered with 500 and an error of the vendor's form. */
  readonly serverError: number;
  /** Answered with 502 and a page of HTML. */
  readonly htmlError: number;
  /** Answered with 429. */
  readonly tooMany: number;
  /** The connection is cut without an answer. */
  readonly cut: number;
  /** Answered late, by up to `slowMs`. */
  readonly slow: number;
  readonly slowMs: number;
  /** How long after a change COQL and lists still show what was before, milliseconds. */
  readonly staleMs: number;
  /** A result file that is downloaded ends in its middle. */
  readonly truncatedResult: number;
  /** How far the clocks of the hosts that answer are off, either way, milliseconds. */
  readonly skewMs: number;
  /** How far the `Date` of every reply is ahead of the CRM's own clock, milliseconds. */
  readonly dateAheadMs: number;
  /** Channels are granted one hour, whatever was requested. */
  readonly shortExpiry: boolean;
};

const noApiFaults: ApiFaults = { serverError: 0, htmlError: 0, tooMany: 0, cut: 0, slow: 0, slowMs: 3_000, staleMs: 0, truncatedResult: 0, skewMs: 0, dateAheadMs: 0, shortExpiry: false };

/** What happens to one call. */
export type Mishap = 'serverError' | 'htmlError' | 'tooMany' | 'cut' | null;

/** The faults in force, and the chances they take: the same seed and the same calls have the same mishaps. */
export class FaultyApi {
  readonly #random: Random;
  #faults: ApiFaults = noApiFaults;
  readonly counts = { serverError: 0, htmlError: 0, tooMany: 0, cut: 0, slow: 0, truncatedResult: 0 };

  constructor(seed: number) {
    this.#random = seededRandom(seed ^ 0x0fa17);
  }

  get faults(): ApiFaults {
    return this.#faults;
  }

  set(faults: Partial<ApiFaults>): void {
    this.#faults = { ...this.#faults, ...faults };
  }

  mishap(): Mishap {
    let chance = this.#random.next();
    for (const kind of ['serverError', 'htmlError', 'tooMany', 'cut'] as const) {
      if (chance < this.#faults[kind]) {
        this.counts[kind]++;
        return kind;
      }
      chance -= this.#faults[kind];
    }
    return null;
  }

  delayMs(): number {
    if (this.#random.next() >= this.#faults.slow) return 0;
    this.counts.slow++;
    return this.#random.next() * this.#faults.slowMs;
  }

  /** What the `Date` of a reply is off by: one of three hosts answers. */
  skewMs(): number {
    const { skewMs, dateAheadMs } = this.#faults;
    return dateAheadMs + (skewMs === 0 ? 0 : (this.#random.below(3) - 1) * skewMs);
  }

  truncates(): boolean {
    if (this.#random.next() >= this.#faults.truncatedResult) return false;
    this.counts.truncatedResult++;
    return true;
  }
}
