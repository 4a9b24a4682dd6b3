import { type Random, seededRandom } from '@lockstep/crm-simulator';

import type { Blocked } from './excuses.ts';
import type { Met } from './faults.ts';
import { Watch } from './invariants.ts';
import { Life } from './life.ts';
import { simulatedLeads, simulatedModules } from './modules.ts';
import type { Refusal } from './refusals.ts';
import { Rest } from './rest.ts';
import { refusalOf, type Roughness, strike, troublesOf, weather } from './weather.ts';
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
  world.crashes = roughness.deaths ? 0.0005 : 0;
  world.startAll();
  await live({ world, watch, life, roughness, random, refusal, minutes: 15 + random.below(45) });
  await comeToRest(world, watch, { isOpen, refusal: refusal?.what ?? null });
  const { calls, failed, dropped } = world.crm.counts;
  return { seed, changes: life.changes, calls, failedCalls: failed, dropped, deaths: world.counts.deaths, checks: watch.checks, virtualMinutes: Math.round(world.time.elapsed() / MINUTE_MS), met: world.met.all };
}

type Lived = { readonly world: World; readonly watch: Watch; readonly life: Life; readonly roughness: Roughness; readonly random: Random; readonly refusal: { readonly atMs: number; readonly what: Refusal } | null; readonly minutes: number };

async function live({ world, watch, life, roughness, random, refusal, minutes }: Lived): Promise<void> {
  const { time, crm } = world;
  let turnsAtMs = 0;
  while (time.elapsed() < minutes * MINUTE_MS) {
    if (refusal !== null && time.elapsed() >= refusal.atMs && crm.refusals.active.length === 0) crm.refusals.begin(refusal.what);
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
export async function comeToRest(world: World, watch: Watch, { isOpen, refusal }: { isOpen: boolean; refusal: Refusal | null } = { isOpen: false, refusal: null }): Promise<void> {
  const rest = new Rest(world, watch);
  const isRight = (blocked?: Blocked): Promise<void> => (isOpen && !watch.wasSetBack ? rest.caughtUp(blocked) : rest.refreshed(blocked));
  if (refusal !== null) {
    await isRight(blockedBy(refusal));
    world.crm.refusals.lift();
  }
  await isRight();
}

/** What is not promised while the CRM refuses something: a record without a time keeps no other one from being read, the rest its module. */
const blockedBy = (refusal: Refusal): Blocked => (refusal.kind === 'time' ? { modules: new Set(), records: new Set([`${refusal.module}/${refusal.id}`]) } : { modules: new Set([refusal.module]), records: new Set() });
