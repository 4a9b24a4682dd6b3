import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { type Lockstep, type LockstepOptions, startLockstep } from './lockstep.ts';

/** Starts the whole in folders of its own for the length of a test; whatever happens, everything is ended and removed. */
export async function withLockstep(options: Omit<LockstepOptions, 'dataDir'>, test: (lockstep: Lockstep, dataDir: string) => Promise<void>): Promise<void> {
  const dataDir = await mkdtemp(join(tmpdir(), 'lockstep-e2e-'));
  try {
    const lockstep = await startLockstep({ ...options, dataDir, isolated: true, durable: false });
    try {
      await test(lockstep, dataDir);
    } finally {
      await lockstep.stop();
    }
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
}
