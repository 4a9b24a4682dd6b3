import { join } from 'node:path';

import { type Lockstep, type LockstepOptions, startLockstep } from '@lockstep/harness';

const running = new Set<Lockstep>();

/** Runs the whole of Lockstep, on a fresh stack of its own in this folder, for as long as the work takes. */
export async function withLockstep<T>(folder: string, options: Omit<LockstepOptions, 'dataDir' | 'isolated' | 'fresh'>, work: (lockstep: Lockstep) => Promise<T>): Promise<T> {
  const lockstep = await startLockstep({ ...options, dataDir: join(folder, 'run'), isolated: true, fresh: true });
  running.add(lockstep);
  try {
    return await work(lockstep);
  } finally {
    running.delete(lockstep);
    await lockstep.stop();
  }
}

/** Ends what runs; for a measurement that is broken off. */
export const stopAll = async (): Promise<void> => void (await Promise.all([...running].map((lockstep) => lockstep.stop())));

/** The simulator's arguments for so many Leads and nothing else. */
export const leadsOnly = (rows: number): string[] => ['--leads', String(rows), '--deals', '0', '--products', '0', '--downloads-per-minute', '0'];
