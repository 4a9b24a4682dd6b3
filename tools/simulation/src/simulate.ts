import { STALE_AT_MOST_MS } from '@lockstep/completeness';
import { seededRandom } from '@lockstep/crm-simulator';

import { setClocksRight } from './host-clocks.ts';
import { Watch } from './invariants.ts';
import { Life, type Roughness, strike, weather } from './life.ts';
import { simulatedDeals, simulatedLeads } from './modules.ts';
import { noFaults } from './virtual-crm.ts';
import { World } from './world.ts';

/** What a seed's world went through. */
export type Simulated = { readonly seed: number; readonly changes: number; readonly calls: number; readonly failedCalls: number; readonly dropped: number; readonly deaths: number; readonly checks: number; readonly virtualMinutes: number };

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/**
 * Lives one seed's world to its end.
 * @throws {Violation} when freshness ever claimed what was not there, or the tables do not equal the CRM in the end.
 */
export async function simulate(seed: number): Promise<Simulated> {
  const random = seededRandom(seed ^ 0x51ed);
  const modules = random.below(3) === 0 ? [simulatedLeads, simulatedDeals] : [simulatedLeads];
  const world = new World({ seed, modules, records: 10 + random.below(70), pageSize: 10 + random.below(40), version: seededRandom(seed ^ 0x6f8).below(2) === 0 ? 'v6' : 'v8', skewMs: random.below(12_000), restoreScanEveryMs: 20 * MINUTE_MS });
  const watch = new Watch(world);
  const life = new Life(world, watch);
  const roughness: Roughness = { faults: random.below(5) > 0, deaths: random.below(3) > 0, outages: random.below(3) === 0, clocks: random.below(3) === 0 };
  world.crashes = roughness.deaths ? 0.0005 : 0;
  world.startAll();
  const minutes = 15 + random.below(45);
  await live({ world, watch, life, roughness, random, minutes });
  await comeToRest(world, watch);
  const { calls, failed, dropped } = world.crm.counts;
  return { seed, changes: life.changes, calls, failedCalls: failed, dropped, deaths: world.counts.deaths, checks: watch.checks, virtualMinutes: Math.round(world.time.elapsed() / MINUTE_MS) };
}

async function live({ world, watch, life, roughness, random, minutes }: { world: World; watch: Watch; life: Life; roughness: Roughness; random: ReturnType<typeof seededRandom>; minutes: number }): Promise<void> {
  const endMs = minutes * MINUTE_MS;
  let turnsAtMs = 0;
  while (world.time.elapsed() < endMs) {
    if (world.time.elapsed() >= turnsAtMs) {
      world.crm.setFaults(weather(random, roughness));
      turnsAtMs = world.time.elapsed() + MINUTE_MS * (1 + random.below(8));
    }
    // Bursts within a second, and long silences.
    await world.time.advance(random.below(3) === 0 ? random.below(900) : random.below(40_000));
    life.act();
    if (random.below(30) === 0) strike({ world, watch, random, roughness });
    watch.check();
  }
}

/** No more changes, no more faults: two catch-ups and a scan for restores that began afterwards, then a refresh. */
export async function comeToRest(world: World, watch: Watch): Promise<void> {
  world.crm.setFaults({ ...noFaults });
  world.crashes = 0;
  if (setClocksRight(world.clocks)) watch.setBack(HOUR_MS);
  world.startAll();
  const { modules, catchUpIntervalMs, restoreScanEveryMs } = world.options;
  const pass = async (ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += 30_000) {
      await world.time.advance(30_000);
      watch.check();
    }
  };
  // Until the CRM stamps with times that it never stamped with before, and no read can lag behind that.
  await pass(Math.max(0, watch.stampsAgainForMs) + (watch.stampsAgainForMs > 0 ? STALE_AT_MOST_MS : 0));
  await pass(restoreScanEveryMs + 4 * catchUpIntervalMs);
  for (const module of modules) while (!(await begun(world, () => world.refresh(module)))) await pass(MINUTE_MS);
  await pass(10 * MINUTE_MS + 2 * catchUpIntervalMs);
  // A catch-up may have ended just now.
  for (let waited = 0; waited < 60 && !watch.isProjected(); waited += 1) await world.time.advance(1_000);
  watch.checkEquality();
}

/** A call of the CRM takes virtual time, so time has to pass while it is waited for. */
async function begun(world: World, work: () => Promise<boolean>): Promise<boolean> {
  const outcome: { isBegun?: boolean } = {};
  const working = work().then((isBegun) => Object.assign(outcome, { isBegun }));
  while (outcome.isBegun === undefined) await world.time.advance(1_000);
  return (await working).isBegun;
}
