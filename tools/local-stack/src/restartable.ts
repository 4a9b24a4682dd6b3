import { setTimeout as delay } from 'node:timers/promises';
import type { ChildService } from './child-service.ts';
import type { Crashable } from './service.ts';

const restartWithinMs = 30_000;

/**
 * A service of the stack that can be crashed and started again.
 * @param launch starts it, and returns once it does its work.
 */
export async function restartable(launch: () => Promise<ChildService>): Promise<Crashable & { stop(): Promise<void> }> {
  let service = await launch();
  return {
    kill: () => service.kill(),
    restart: async () => {
      service = await launchAgain(launch);
    },
    stop: () => service.stop(),
  };
}

/** Orphans of the crashed process may hold its memory or files for a moment: the backends of Postgres do. */
async function launchAgain(launch: () => Promise<ChildService>): Promise<ChildService> {
  const deadline = Date.now() + restartWithinMs;
  for (;;) {
    try {
      return await launch();
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await delay(200);
    }
  }
}
