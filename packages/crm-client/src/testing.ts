import type { Time } from '@lockstep/telemetry';

/** Time that stands still until a test moves it. `jitter` is 0. */
export function handTime(startMs = Date.UTC(2026, 4, 4, 10)): Time & { advance(ms: number): Promise<void> } {
  let now = startMs;
  const sleepers = new Set<{ readonly at: number; readonly wake: () => void }>();
  const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));
  const after = (ms: number, wake: () => void): (() => void) => {
    const sleeper = { at: now + ms, wake };
    sleepers.add(sleeper);
    return () => void sleepers.delete(sleeper);
  };
  return {
    now: () => now,
    elapsed: () => now - startMs,
    after,
    jitter: () => 0,
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        const takeBack = after(ms, resolve);
        const stop = (): void => {
          takeBack();
          resolve();
        };
        if (signal?.aborted === true) stop();
        signal?.addEventListener('abort', stop, { once: true });
      }),
    advance: async (ms) => {
      now += ms;
      for (const sleeper of [...sleepers].filter(({ at }) => at <= now)) {
        sleepers.delete(sleeper);
        sleeper.wake();
      }
      for (let turns = 0; turns < 5; turns += 1) await turn();
    },
  };
}
