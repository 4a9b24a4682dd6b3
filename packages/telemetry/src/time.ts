import { setTimeout as realSleep } from 'node:timers/promises';

/** Time as a process lives in it, so that tests and simulations can bring their own. */
export type Time = {
  /** Epoch milliseconds. */
  now(): number;
  /** Milliseconds since some moment; unlike `now` it never goes back. */
  elapsed(): number;
  /** Resolves after so long, or at once when the signal is aborted; never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Calls once after so long. @returns takes it back. */
  after(ms: number, call: () => void): () => void;
  /** From 0 to 1: for pauses of several processes that must not coincide. */
  jitter(): number;
};

/** The machine's time. */
export const realTime: Time = {
  now: () => Date.now(),
  elapsed: () => performance.now(),
  sleep: (ms, signal) => realSleep(ms, undefined, signal === undefined ? {} : { signal }).catch(() => undefined),
  after: (ms, call) => {
    const timer = setTimeout(call, ms);
    timer.unref();
    return () => clearTimeout(timer);
  },
  jitter: () => Math.random(),
};
