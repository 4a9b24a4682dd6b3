import { setTimeout as realSleep } from 'node:timers/promises';

/** The simulator's time: what `Modified_Time`, expiries and the `Date` header are taken from. */
export interface Clock {
  /** Epoch milliseconds, UTC. */
  nowMs(): number;
  /** Milliseconds of a monotonic clock, which no step changes: for spans. */
  elapsedMs(): number;
  /** Sets the clock, as an operator does: no sleeper wakes by it. */
  step(ms: number): void;
  /** Resolves once that much of this clock's time has passed, or at once when `signal` is aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** A clock that stands still until it is moved. */
export interface DrivenClock extends Clock {
  /** Moves the time on, waking each sleeper at its own moment and letting it run before the next one. */
  advance(ms: number): Promise<void>;
}

/** The machine's clock. */
export const realClock = (): Clock => {
  let steppedMs = 0;
  return {
    nowMs: () => Date.now() + steppedMs,
    elapsedMs: () => performance.now(),
    step: (ms) => void (steppedMs += ms),
    sleep: async (ms, signal) => {
      await realSleep(ms, undefined, signal === undefined ? {} : { signal }).catch(() => undefined);
    },
  };
};

type Sleeper = { readonly at: number; readonly wake: () => void };

/**
 * A clock for tests and simulations: virtual time.
 * @param startMs epoch milliseconds it begins at.
 */
export function drivenClock(startMs: number): DrivenClock {
  let now = startMs;
  let steppedMs = 0;
  let sleepers: Sleeper[] = [];
  const due = (until: number): Sleeper | undefined => sleepers.filter((s) => s.at <= until).toSorted((a, b) => a.at - b.at)[0];
  // What a woken sleeper does next (a request, a further sleep) takes a few turns of the event loop.
  const settle = () => new Promise<void>((resolve) => setImmediate(() => setImmediate(resolve)));
  return {
    nowMs: () => now + steppedMs,
    elapsedMs: () => now,
    step: (ms) => void (steppedMs += ms),
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        if (ms <= 0 || signal?.aborted === true) return resolve();
        const stop = () => {
          sleepers = sleepers.filter((s) => s !== sleeper);
          sleeper.wake();
        };
        const wake = () => {
          signal?.removeEventListener('abort', stop);
          resolve();
        };
        const sleeper: Sleeper = { at: now + ms, wake };
        sleepers.push(sleeper);
        signal?.addEventListener('abort', stop);
      }),
    advance: async (ms) => {
      const until = now + ms;
      await settle();
      for (let next = due(until); next !== undefined; next = due(until)) {
        const woken = next;
        now = Math.max(now, woken.at);
        sleepers = sleepers.filter((s) => s !== woken);
        woken.wake();
        await settle();
      }
      now = until;
      await settle();
    },
  };
}

/** @returns true when the clock can be moved by hand. */
export const isDriven = (clock: Clock): clock is DrivenClock => 'advance' in clock;
