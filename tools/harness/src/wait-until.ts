import { setTimeout as sleep } from 'node:timers/promises';

import { HarnessError } from './errors.ts';

/**
 * Asks again and again until the answer is there.
 * @param ask null or undefined: not yet. A throw counts as "not yet" too; the last one is the cause of the time-out.
 * @throws {HarnessError} `TIMED_OUT` after `timeoutMs`.
 */
export async function waitUntil<T>(what: string, ask: () => Promise<T | null | undefined>, { timeoutMs = 60_000, everyMs = 100, signal }: { timeoutMs?: number; everyMs?: number; signal?: AbortSignal } = {}): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  let cause: unknown;
  while (performance.now() < deadline) {
    signal?.throwIfAborted();
    try {
      const answer = await ask();
      if (answer !== null && answer !== undefined) return answer;
    } catch (error) {
      cause = error;
    }
    await sleep(everyMs, undefined, signal === undefined ? {} : { signal });
  }
  const last = cause instanceof Error ? `; the last error: ${cause.message}` : '';
  throw new HarnessError(`${what}: not within ${Math.round(timeoutMs / 1000)} s${last}`, 'TIMED_OUT', { cause });
}
