import { setTimeout as sleep } from 'node:timers/promises';

import type { InstanceName } from './app-process.ts';
import type { Lockstep } from './lockstep.ts';

const RESTART_AFTER_MS = 300;

/**
 * Keeps every app running, as a supervisor in production does: what ends, for whatever reason, is started again.
 * @param onEnded called at each end: an exit code or a signal.
 * @returns once the signal is aborted.
 */
export async function supervise({ apps, restart }: Pick<Lockstep, 'apps' | 'restart'>, { signal, onEnded }: { signal: AbortSignal; onEnded: (name: InstanceName, end: number | NodeJS.Signals) => void }): Promise<void> {
  const aborted = new Promise<'aborted'>((resolve) => {
    signal.addEventListener('abort', () => resolve('aborted'));
  });
  const keepRunning = async (name: InstanceName): Promise<void> => {
    for (;;) {
      const end = await Promise.race([apps[name]?.ended ?? aborted, aborted]);
      if (end === 'aborted' || signal.aborted) return;
      onEnded(name, end);
      await sleep(RESTART_AFTER_MS);
      if (signal.aborted) return;
      restart(name).catch(() => undefined); // An end while it starts is an end like any other.
    }
  };
  await Promise.all((Object.keys(apps) as InstanceName[]).map(keepRunning));
}
