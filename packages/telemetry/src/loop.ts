import type { Logger } from './logger.ts';
import { realTime, type Time } from './time.ts';

export type LoopOptions = {
  readonly name: string;
  /** Pause between the end of one body and the start of the next; a function is asked after each. */
  readonly everyMs: number | (() => number);
  readonly signal: AbortSignal;
  /** Returns true to be called again at once. */
  readonly body: (signal: AbortSignal) => Promise<boolean | void>;
  readonly log: Logger;
  /** Longest pause after failures; they double it from `everyMs` on, with jitter. */
  readonly maxBackOffMs?: number;
  /** Ends the pause early when it settles. The signal is aborted with the pause: what waits longer would pile up. */
  readonly wake?: (signal: AbortSignal) => Promise<void>;
  readonly time?: Time;
};

/** Calls a body again and again until aborted; bodies never overlap, and a failure is logged and backed off from. */
export async function loop({ name, everyMs, signal, body, log, maxBackOffMs = 30_000, wake, time = realTime }: LoopOptions): Promise<void> {
  let failures = 0;
  while (!signal.aborted) {
    let goOn: boolean | void = false;
    try {
      goOn = await body(signal);
      failures = 0;
    } catch (error) {
      if (signal.aborted) return;
      failures += 1;
      log.warn({ err: error, loop: name, failures }, 'a round failed and will be tried again');
    }
    if (goOn === true) continue;
    const usualMs = typeof everyMs === 'number' ? everyMs : everyMs();
    const pauseMs = failures === 0 ? usualMs : Math.min(Math.max(usualMs, 100) * 2 ** failures, maxBackOffMs) * (0.5 + time.jitter() / 2);
    await pause(pauseMs, signal, time, wake);
  }
}

async function pause(ms: number, signal: AbortSignal, time: Time, wake?: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const woken = new AbortController();
  const slept = time.sleep(ms, AbortSignal.any([signal, woken.signal]));
  await Promise.race([slept, ...(wake === undefined ? [] : [wake(woken.signal)])]);
  woken.abort();
}
