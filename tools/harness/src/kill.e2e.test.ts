import { describe, expect, test } from 'vitest';

import { appNames } from './app-process.ts';
import { compareAll } from './compare-all.ts';
import { statusOf, waitUntilLoaded, waitUntilQuiet } from './quiet.ts';
import { withLockstep } from './testing.ts';
import { waitUntil } from './wait-until.ts';

// Which rows are published at the kill is left to chance; that it is in the middle of the load is not.
const kills = appNames.map((name) => [name, Math.round(10 + Math.random() * 70) / 100] as const);
const ROWS = 16_000;

describe('kill -9 during the first load', () => {
  test.each(kills)('%s, killed after %f of the rows and started again, ends with equality', async (name, share) => {
    await withLockstep({ simulator: ['--leads', String(ROWS), '--deals', '500', '--products', '500', '--page-size', '2000', '--downloads-per-minute', '0'] }, async (lockstep) => {
      await waitUntil(
        'the middle of the load',
        async () => {
          const { modules } = await statusOf(lockstep);
          return (modules[0]?.run?.rows ?? 0) >= ROWS * share ? true : null;
        },
        { everyMs: 20 },
      );
      await lockstep.apps[name]?.kill('SIGKILL');
      await lockstep.restart(name);
      const loaded = await waitUntilLoaded(lockstep);
      expect(loaded.modules[0]?.run).toMatchObject({ rows: ROWS, pages: 8, pagesPublished: 8 });
      await waitUntilQuiet(lockstep);
      expect(await compareAll(lockstep)).toMatchObject({ rows: ROWS + 1000, mismatches: 0 });
    });
  });
});
