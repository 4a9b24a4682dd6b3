import { expect, test } from 'vitest';

import { type Ahead, withSteppedClocks } from './clock-steps/stepped-run.ts';
import type { FreshnessWatch } from './freshness/freshness-watch.ts';
import { problemsOfWatch } from './freshness/watched.ts';
import { waitUntilLoaded } from './quiet.ts';

const HOUR = 3_600_000;

/**
 * Every clock is set forward and back by an hour, both while a module is read and while nothing is. The apps' clocks are set in one go: each process
 * has its own. What takes longer than a test may is the simulation's: processes that begin with a wrong clock, and deletions of what was seen before
 * the CRM's clock was set back.
 */
const steps: readonly { readonly during: 'load' | 'idle'; readonly ahead: Ahead }[] = [
  { during: 'idle', ahead: { ingress: 0, scheduler: 0, projector: 0 } },
  { during: 'load', ahead: { ingress: -HOUR, scheduler: HOUR, projector: -HOUR } },
  { during: 'idle', ahead: { ingress: 0, scheduler: 0, projector: 0 } },
  { during: 'load', ahead: { database: HOUR } },
  { during: 'idle', ahead: { database: 0 } },
  { during: 'load', ahead: { database: -HOUR } },
  { during: 'idle', ahead: { database: 0 } },
  { during: 'idle', ahead: { date: HOUR } },
  { during: 'load', ahead: { date: 0, crm: HOUR } },
  { during: 'load', ahead: { crm: 0 } },
];

const proven = { problems: [], falseClaims: [] };

async function proofOf(watch: FreshnessWatch): Promise<object> {
  const watched = await watch.stop();
  return { problems: problemsOfWatch(watched), falseClaims: watched.falseClaims };
}

test('a step of an hour in either direction, of any clock, while loading and while idle: every change arrives, and no claim is false', { timeout: 300_000 }, async () => {
  await withSteppedClocks(async (run) => {
    const watch = run.watchFreshness();
    await run.row('the first page', `select from lockstep.bulk_page where state = 'published' limit 1`);
    const first = { ingress: HOUR, scheduler: -HOUR, projector: HOUR };
    await run.set(first);
    await Promise.all([waitUntilLoaded(run.lockstep), run.isReported(first)]);
    for (const { during, ahead } of steps) {
      const refreshed = during === 'load' ? await run.refresh() : () => Promise.resolve();
      await run.set(ahead);
      const { notified, caughtUp } = await run.change();
      await Promise.all([notified(), caughtUp(), refreshed(), run.isReported(ahead)]);
      await run.isFresh();
      expect(await run.differences()).toEqual([]);
    }
    expect(await proofOf(watch)).toEqual(proven);

    // Claims made before the CRM was set back are withdrawn once two sources agree on its time, after a minute. Until then only notifications help.
    await run.set({ crm: -HOUR });
    const past = await run.change({ isDeletedNew: true });
    await past.notified();
    await run.row('the repair of every module', `select from lockstep.incident where kind = 'future-repaired' having count(distinct module) = 3`, 120_000);
    const afterwards = run.watchFreshness();
    await past.caughtUp();
    await run.isFresh();
    expect(await run.differences()).toEqual([]);

    // A Date that is ahead moves no claim forward for a minute, and hides nothing.
    await run.set({ crm: 0 });
    const present = await run.change({ isDeletedNew: true });
    await Promise.all([present.notified(), present.caughtUp()]);
    expect(await run.differences()).toEqual([]);
    expect(await proofOf(afterwards)).toEqual(proven);
  });
});
