import { type Random, seededRandom } from '@lockstep/crm-simulator';

import type { Blocked } from './excuses.ts';
import type { Met } from './faults.ts';
import { Watch } from './invariants.ts';
import { Life } from './life.ts';
import { simulatedLeads, simulatedModules } from './modules.ts';
import type { Refusal } from './refusals.ts';
import { Rest } from './rest.ts';
import { furtherRefusals, refusalOf, type Roughness, strike, troublesOf, weather } from './weather.ts';
import { World } from './world.ts';

/** What a seed's world went through. */
export type Simulated = { readonly seed: number; readonly changes: number; readonly calls: number; readonly failedCalls: number; readonly dropped: number; readonly deaths: number; readonly checks: number; readonly virtualMinutes: number; readonly met: Met };

const MINUTE_MS = 60_000;

/**
 * Lives one seed's world to its end.
 * @throws {Violation} when freshness ever claimed what was not there, or the tables do not equal the CRM in the end.
 */
export async function simulate(seed: number): Promise<Simulated> {
  const random = seededRandom(seed ^ 0x51ed);
  const modules = random.below(2) === 0 ? simulatedModules : [simulatedLeads];
  const world = new World({ seed, modules, records: 10 + random.below(modules.length > 1 ? 25 : 70), pageSize: 10 + random.below(40), version: seededRandom(seed ^ 0x6f8).below(2) === 0 ? 'v6' : 'v8', skewMs: random.below(12_000), restoreScanEveryMs: 20 * MINUTE_MS });
  const watch = new Watch(world);
  const isOpen = random.below(3) === 0;
  const life = new Life(world, watch, { isOpen });
  const roughness: Roughness = { faults: random.below(5) > 0, deaths: random.below(3) > 0, outages: random.below(3) === 0, troubles: random.below(2) === 0, clocks: random.below(3) === 0 };
  const refusal = random.below(4) === 0 ? { atMs: random.below(2) === 0 ? 0 : random.below(30) * MINUTE_MS, what: refusalOf(random, world) } : null;
  const refusals = refusal === null ? null : { atMs: refusal.atMs, what: [refusal.what, ...furtherRefusals(seededRandom(seed ^ 0x57a), world)] };
  world.crashes = roughness.deaths ? 0.0005 : 0;
  world.startAll();
  await live({ world, watch, life, roughness, random, refusals, minutes: 15 + random.below(45) });
  await comeToRest(world, watch, { isOpen, refusals: refusals?.what ?? [] });
  const { calls, failed, dropped } = world.crm.counts;
  return { seed, changes: life.changes, calls, failedCalls: failed, dropped, deaths: world.counts.deaths, checks: watch.checks, virtualMinutes: Math.round(world.time.elapsed() / MINUTE_MS), met: world.met.all };
}

type Lived = { readonly world: World; readonly watch: Watch; readonly life: Life; readonly roughness: Roughness; readonly random: Random; readonly refusals: { readonly atMs: number; readonly what: readonly Refusal[] } | null; readonly minutes: number };

async function live({ world, watch, life, roughness, random, refusals, minutes }: Lived): Promise<void> {
  const { time, crm } = world;
  let turnsAtMs = 0;
  while (time.elapsed() < minutes * MINUTE_MS) {
    if (refusals !== null && time.elapsed() >= refusals.atMs && crm.refusals.active.length === 0) for (const one of refusals.what) crm.refusals.begin(one);
    if (time.elapsed() >= turnsAtMs) {
      crm.setFaults(weather(random, roughness));
      world.troubles = troublesOf(random, roughness);
      turnsAtMs = time.elapsed() + MINUTE_MS * (1 + random.below(8));
    }
    // Bursts within a second, and long silences.
    await time.advance(random.below(3) === 0 ? random.below(900) : random.below(40_000));
    life.act();
    if (random.below(30) === 0) strike({ world, watch, random, roughness });
    if (random.below(60) === 0) void world.refresh(world.options.modules[random.below(world.options.modules.length)] ?? simulatedLeads).catch(() => undefined);
    watch.check();
  }
}

/**
 * No more changes, no more faults. What the CRM refuses it goes on refusing for a while: everything else has to be right; then that is
 * lifted, and has to become right by itself. Where the CRM hid nothing, no refresh is needed for it. A CRM whose clock was set back stamps
 * changes with times that are read already, and so hides them.
 */
export async function comeToRest(world: World, watch: Watch, { isOpen, refusals }: { isOpen: boolean; refusals: readonly Refusal[] } = { isOpen: false, refusals: [] }): Promise<void> {
  const rest = new Rest(world, watch);
  const isRight = (blocked?: Blocked): Promise<void> => (isOpen && !watch.wasSetBack ? rest.caughtUp(blocked) : rest.refreshed(blocked));
  if (refusals.length > 0) {
    await isRight(blockedBy(refusals));
    world.crm.refusals.lift();
  }
  await isRight();
}

/** What is not promised while this is refused: of some kinds a record alone, of the others its module. */
function blockedBy(refusals: readonly Refusal[]): Blocked {
  const ofRecord = refusals.flatMap((one) => ('id' in one && one.kind !== 'look' ? [`${one.module}/${one.id}`] : []));
  const ofModule = refusals.filter((one) => !('id' in one) || one.kind === 'look').map(({ module }) => module);
  return { modules: new Set(ofModule), records: new Set(ofRecord) };
}
