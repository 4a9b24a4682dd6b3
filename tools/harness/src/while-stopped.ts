import { HarnessError } from './errors.ts';
import type { Lockstep } from './lockstep.ts';

/**
 * Does work while an app's process stands still (SIGSTOP), and lets it go on afterwards, whatever happens. Leases and the consumer group
 * bear a few seconds of it; a longer stall hands the app's partitions over.
 * @param app the process's name, e.g. `projector` or `ingress-2`.
 */
export async function whileStopped<T>({ apps }: Pick<Lockstep, 'apps'>, app: string, work: () => Promise<T>): Promise<T> {
  const pid = apps[app]?.pid;
  if (pid === undefined) throw new HarnessError(`${app} is not a running process of this harness`, 'APP_ENDED');
  process.kill(pid, 'SIGSTOP');
  try {
    return await work();
  } finally {
    process.kill(pid, 'SIGCONT');
  }
}
