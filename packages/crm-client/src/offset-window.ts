/** Between which bounds the distance of one clock from another lies, milliseconds. */
export type Bounds = { readonly low: number; readonly high: number };

/** Clocks that differ by more contradict each other: hosts of the CRM differ by seconds, and calls take a while. */
export const TOLERANCE_MS = 60_000;

/** Whether two bounds are apart by no more than the tolerance. */
export const isNear = (a: Bounds, b: Bounds): boolean => Math.max(a.low - b.high, b.low - a.high) <= TOLERANCE_MS;

/** The earlier of each bound. */
export const least = (...all: readonly Bounds[]): Bounds => ({ low: Math.min(...all.map(({ low }) => low)), high: Math.min(...all.map(({ high }) => high)) });

// Older replies no longer bound the offset: two clocks drift apart by about 1 ms a minute at most.
const WINDOW = 64;

/**
 * The offset that many replies agree on: the intersection of the latest ones, which is narrow (a few milliseconds after some
 * dozens) and orders two looks within one second. Hosts that differ by seconds have no intersection: then the earliest counts.
 */
export class OffsetWindow {
  readonly #replies: Bounds[] = [];
  #bounds: Bounds;

  constructor(first: Bounds) {
    this.#replies.push(first);
    this.#bounds = first;
  }

  get bounds(): Bounds {
    return this.#bounds;
  }

  add(reply: Bounds): void {
    this.#replies.push(reply);
    if (this.#replies.length > WINDOW) this.#replies.shift();
    const narrow = { low: Math.max(...this.#replies.map(({ low }) => low)), high: Math.min(...this.#replies.map(({ high }) => high)) };
    this.#bounds = narrow.low <= narrow.high ? narrow : least(...this.#replies);
  }
}

const PERSISTS_REPLIES = 5;
const PERSISTS_MS = 60_000;

/** An offset that contradicts the established one, for as long as all replies agree on it. */
export class Candidate {
  readonly #window: OffsetWindow;
  readonly #sinceMs: number;
  #replies = 1;
  #latestMs: number;

  constructor(first: Bounds, elapsedMs: number) {
    this.#window = new OffsetWindow(first);
    this.#sinceMs = elapsedMs;
    this.#latestMs = elapsedMs;
  }

  get window(): OffsetWindow {
    return this.#window;
  }

  /** Whether enough replies, over a long enough time, have agreed on it. */
  get isPersistent(): boolean {
    return this.#replies >= PERSISTS_REPLIES && this.#latestMs - this.#sinceMs >= PERSISTS_MS;
  }

  add(reply: Bounds, elapsedMs: number): void {
    this.#window.add(reply);
    this.#replies += 1;
    this.#latestMs = elapsedMs;
  }
}
