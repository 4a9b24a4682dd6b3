import { seededRandom } from '@lockstep/crm-simulator';
import { expect, test } from 'vitest';

import { Watch } from './invariants.ts';
import { Life } from './life.ts';
import { simulatedLeads } from './modules.ts';
import { comeToRest } from './simulate.ts';
import { noFaults } from './virtual-crm.ts';
import { World } from './world.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 1_440 * MINUTE_MS;

test('thirty days of channels that are lost, shortened and not renewed leave no hole that no catch-up covers', async () => {
  const random = seededRandom(30);
  const world = new World({ seed: 30, modules: [simulatedLeads], records: 30, paceMs: 10 * MINUTE_MS, catchUpIntervalMs: 10 * MINUTE_MS, restoreScanEveryMs: DAY_MS });
  const watch = new Watch(world);
  const life = new Life(world, watch);
  world.startAll();
  let deafTurns = 0;
  let turns = 0;
  while (world.time.elapsed() < 30 * DAY_MS) {
    // Hours in which almost every call fails, and hours of peace.
    world.crm.setFaults({ ...noFaults, error: random.below(3) === 0 ? 0.9 : 0.05, shortExpiry: 0.3, drop: 0.3 });
    await world.time.advance(random.below(3 * 60) * MINUTE_MS);
    life.act();
    if (random.below(20) === 0) world.crm.loseChannel('Leads');
    if (random.below(40) === 0) for (const role of ['planner', 'reader'] as const) world.kill(role);
    turns += 1;
    if (!world.crm.isListening('Leads')) deafTurns += 1;
    watch.check();
  }
  await comeToRest(world, watch);
  // The faults were real: for a good part of the time no notification would have come of anything.
  expect(deafTurns / turns).toBeGreaterThan(0.02);
  const complete = world.catchUps.rows().filter(({ state }) => state === 'complete');
  expect(complete.length).toBeGreaterThan(1_000);
  let watermarkMs = Number.POSITIVE_INFINITY;
  for (const { from, startedAt } of complete) {
    expect(from.getTime()).toBeLessThanOrEqual(watermarkMs);
    watermarkMs = Math.max(Number.isFinite(watermarkMs) ? watermarkMs : 0, (startedAt?.getTime() ?? 0) - 2 * MINUTE_MS);
  }
}, 120_000);
