import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { createTestDatabase, emptyKafka } from '@lockstep/local-stack';
import type { OwnStack } from '@lockstep/local-stack/vitest-own-stack';
import { inject } from 'vitest';

import { type Lockstep, type LockstepOptions, startLockstep } from './lockstep.ts';

/**
 * Runs simulator and apps for the length of a test, on the stack of the test's worker: with a database of its own and an empty
 * Kafka, so that no test sees what another left. Whatever happens, everything is ended and removed.
 */
export async function withLockstep(options: Omit<LockstepOptions, 'dataDir' | 'stack'>, test: (lockstep: Lockstep) => Promise<void>): Promise<void> {
  const { kafkaBrokers, databaseUrl } = ownStack();
  const dataDir = await mkdtemp(join(tmpdir(), 'lockstep-e2e-'));
  const [database] = await Promise.all([createTestDatabase({ serverUrl: databaseUrl }), emptyKafka(kafkaBrokers)]);
  try {
    const lockstep = await startLockstep({ ...options, dataDir, stack: { kafkaBrokers, databaseUrl: database.url } });
    try {
      await test(lockstep);
    } finally {
      await lockstep.stop();
    }
  } finally {
    await database.drop();
    await rm(dataDir, { recursive: true, force: true });
  }
}

function ownStack(): OwnStack {
  const stack = inject('ownStacks')[Number(process.env['VITEST_POOL_ID']) - 1];
  if (stack === undefined) throw new Error(`no stack was started for worker ${process.env['VITEST_POOL_ID']}`);
  return stack;
}
