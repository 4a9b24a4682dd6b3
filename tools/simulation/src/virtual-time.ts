import type { Random } from '@lockstep/crm-simulator';
import type { Time } from '@lockstep/telemetry';

type Timer = { readonly at: number; readonly order: number; readonly call: () => void };

/**
 * Time that passes only when it is let: every sleeper is woken at its own moment, and runs until it waits again, before
 * the next one. Nothing but this time may be waited for, so one seed has one course.
 */
export class VirtualTime implements Time {
  #now: number;
  readonly #startMs: number;
  readonly #random: Random;
  /** A binary heap by moment, then by the order of asking. */
  readonly #heap: Timer[] = [];
  #asked = 0;

  /** @param startMs epoch milliseconds it begins at. */
  constructor(startMs: number, random: Random) {
    this.#now = startMs;
    this.#startMs = startMs;
    this.#random = random;
  }

  now(): number {
    return this.#now;
  }

  elapsed(): number {
    return this.#now - this.#startMs;
  }

  jitter(): number {
    return this.#random.next();
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted === true) return resolve();
      const wake = (): void => {
        signal?.removeEventListener('abort', wake);
        resolve();
      };
      signal?.addEventListener('abort', wake);
      this.after(ms, wake);
    });
  }

  /** Whole milliseconds, as a timer of the machine has them. */
  after(ms: number, call: () => void): () => void {
    let isWanted = true;
    this.#push({ at: this.#now + Math.max(0, Math.ceil(ms)), order: (this.#asked += 1), call: () => (isWanted ? call() : undefined) });
    return () => {
      isWanted = false;
    };
  }

  /** Lets so much time pass. */
  async advance(ms: number): Promise<void> {
    const until = this.#now + ms;
    await settled();
    for (let next = this.#heap[0]; next !== undefined && next.at <= until; next = this.#heap[0]) {
      this.#pop();
      this.#now = next.at;
      next.call();
      await settled();
    }
    this.#now = until;
  }

  #push(timer: Timer): void {
    const heap = this.#heap;
    let at = heap.push(timer) - 1;
    for (let up = (at - 1) >> 1; at > 0 && isBefore(timer, heap[up] as Timer); up = (at - 1) >> 1) {
      heap[at] = heap[up] as Timer;
      at = up;
    }
    heap[at] = timer;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop() as Timer;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let down = at * 2 + 1;
      if (down >= heap.length) break;
      if (down + 1 < heap.length && isBefore(heap[down + 1] as Timer, heap[down] as Timer)) down += 1;
      if (!isBefore(heap[down] as Timer, last)) break;
      heap[at] = heap[down] as Timer;
      at = down;
    }
    heap[at] = last;
  }
}

const isBefore = (a: Timer, b: Timer): boolean => a.at < b.at || (a.at === b.at && a.order < b.order);

/** All that was woken has run until it waits for time again: promises alone are between, and the event loop drains them first. */
const settled = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));
