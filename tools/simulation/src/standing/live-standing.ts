import type { ModuleDefinition } from '@lockstep/modules';

import { Violation, Watch } from '../invariants.ts';
import { simulatedModules } from '../modules.ts';
import type { Refusal } from '../refusals.ts';
import { noFaults } from '../virtual-crm.ts';
import { World } from '../world.ts';
import { Probes } from './probes.ts';
import { probed, refusalOfStanding, removable, type StandingFault, standingFaults, type StandingPhase, standingPhases } from './standing-faults.ts';

/** A point of the dimension: a fault, the module it is in, and when it begins. */
export type StandingCase = { readonly fault: StandingFault; readonly module: ModuleDefinition; readonly phase: StandingPhase; readonly seed: number };

/** What a case came to, in virtual milliseconds; credits are those of the dearest hour. */
/** `isLoaded`: whether the first load of every module was complete while the fault stood. */
export type Stood = { readonly name: string; readonly isLoaded: boolean; readonly worstMs: number; readonly probes: number; readonly reportedMs: number; readonly equalMs: number; readonly creditsPerHour: number };

const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
/** Channels of an hour are extended after half of it, and end if they are not. */
const standsMs = ({ kind }: StandingFault): number => (kind === 'channel' ? 90 : 40) * MINUTE_MS;
const REPORTED_WITHIN_MS = MINUTE_MS;
/** The pause of a page that stood for so long, a scan, a second pass. */
const EQUAL_WITHIN_MS = 3 * 60 * MINUTE_MS;
/** Beyond a look at each edit. What three loads, thirty catch-ups a module cost, is 450; the fault may add six jobs and what is polled. */
const CREDITS_PER_HOUR = 1_000;
const LOADED_WITHIN_MS = 30 * MINUTE_MS;

/** All of the dimension. */
export function standingCases(seed: number): StandingCase[] {
  return standingFaults.flatMap((fault) => simulatedModules.flatMap((module) => (fault.phases ?? standingPhases).map((phase) => ({ fault, module, phase, seed }))));
}

export const nameOf = ({ fault, module, phase }: StandingCase): string => `${fault.name}: ${module.apiName}, ${phase}`;

/** A course of a world in which one fault stands. */
class Stand {
  readonly given: StandingCase;
  readonly world: World;
  readonly watch: Watch;
  readonly probes: Probes;
  readonly refusal: Refusal;
  #credits: { atMs: number; credits: number }[] = [];
  #probeAtMs = 0;
  creditsPerHour = 0;
  isProbed = false;
  probeEveryMs = 30 * SECOND_MS;

  constructor(given: StandingCase) {
    this.given = given;
    this.world = new World({ seed: given.seed, modules: simulatedModules, records: 30, pageSize: 12, paceMs: 2_000, restoreScanEveryMs: 20 * MINUTE_MS });
    this.watch = new Watch(this.world);
    this.probes = new Probes(this.world, this.watch);
    // What points to a Product that cannot be read waits for it, and is touched with it: no Deal does here.
    for (const id of this.world.crm.records.ids('Deals')) this.world.crm.records.edit('Deals', [id], { Main_Product: null });
    if (given.fault.kind === 'channel') this.world.crm.setFaults({ ...noFaults, shortExpiry: 1 });
    this.refusal = refusalOfStanding(given.fault, given.module, this.world);
  }

  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += SECOND_MS) {
      await this.world.time.advance(SECOND_MS);
      if (this.isProbed && this.world.time.elapsed() >= this.#probeAtMs) {
        this.probes.edit((module, id) => this.#isTouched(module, id), (module) => this.#isLate(module));
        this.#probeAtMs = this.world.time.elapsed() + this.probeEveryMs;
      }
      this.probes.check();
      if (passed % (10 * SECOND_MS) === 0) this.watch.check();
      this.#countCredits();
    }
  }

  get isLoaded(): boolean {
    return simulatedModules.every(({ apiName }) => this.world.runs.rows().some(({ module, kind, state }) => module === apiName && kind === 'initial' && state === 'complete'));
  }

  /** The incident that names the fault, open now. */
  async incident(): Promise<string | undefined> {
    const { fault, module } = this.given;
    return (await this.world.incidents.list()).find((one) => one.module === module.apiName && fault.incidents.some((kind) => kind === one.kind))?.details;
  }

  #isTouched(module: string, id: string): boolean {
    return 'id' in this.refusal && this.refusal.module === module && this.refusal.id === id;
  }

  /** Whether what no notification is about may wait for as long as the fault stands. */
  #isLate(module: string): boolean {
    const { fault, phase } = this.given;
    if (module !== this.refusal.module) return false;
    const isUnloaded = phase === 'before the first load' || phase === 'during it';
    return fault.touches === 'catch-ups' || (isUnloaded && ['load', 'notifications'].includes(fault.touches));
  }

  #countCredits(): void {
    const { time, crm: { counts } } = this.world;
    // Each edit is worth a look.
    const credits = counts.credits - this.probes.made;
    const atMs = time.elapsed();
    this.#credits = [...this.#credits.filter((one) => one.atMs > atMs - 60 * MINUTE_MS), ...(atMs % MINUTE_MS === 0 ? [{ atMs, credits }] : [])];
    this.creditsPerHour = Math.max(this.creditsPerHour, credits - (this.#credits[0]?.credits ?? 0));
    if (this.creditsPerHour > CREDITS_PER_HOUR) throw new Violation(`${this.creditsPerHour} credits within an hour`);
  }
}

/** Does what makes the fault be met, again until it was. */
function provoke({ world, watch, given: { fault, module }, refusal, isLoaded }: Stand, attempt: number): void {
  const { apiName } = module;
  const [first = ''] = world.crm.records.ids(apiName);
  if (fault.touches === 'load' && isLoaded) void world.refresh(module).catch(() => undefined);
  if (fault.kind === 'list' && attempt === 0) for (const id of world.crm.records.ids(apiName).slice(-6)) remove(world, watch, module, id);
  if (fault.kind !== 'field' && !('id' in refusal)) return;
  const value = fault.kind === 'field' ? { [removable[apiName] ?? '']: apiName === 'Products' ? `Code ${attempt}` : 10 + attempt } : { [probed[apiName] ?? '']: `Touched ${attempt}` };
  world.crm.edit(apiName, [first], value);
  watch.changed(module, first);
}

function remove(world: World, watch: Watch, module: ModuleDefinition, id: string): void {
  world.crm.delete(module.apiName, id);
  watch.changed(module, id);
}

/**
 * Lives a world in which one fault stands for forty minutes, and is lifted then.
 * @throws {Violation} when something that it does not touch was late, its incident was not open within a minute of its second strike, calls cost more than their bound, or,
 * once it is lifted, the tables do not equal the CRM, or the incident stays open, without a restart.
 */
export async function liveStanding(given: StandingCase): Promise<Stood> {
  const stand = new Stand(given);
  const { world, probes } = stand;
  await beginIn(stand);
  stand.isProbed = true;
  const reportedMs = await standFor(stand);
  const { isLoaded } = stand;
  world.crm.refusals.lift();
  world.crm.setFaults(noFaults);
  const equalMs = await heal(stand);
  if (world.counts.deaths > 0) throw new Violation('a process died');
  return { name: nameOf(given), isLoaded, worstMs: probes.worstMs, probes: probes.seen, reportedMs, equalMs, creditsPerHour: stand.creditsPerHour };
}

async function beginIn(stand: Stand): Promise<void> {
  const { world, refusal, given: { phase } } = stand;
  if (phase === 'before the first load') world.crm.refusals.begin(refusal);
  world.startAll();
  if (phase === 'before the first load') return;
  if (phase === 'during it') await stand.pass(15 * SECOND_MS);
  else {
    for (let waited = 0; !stand.isLoaded; waited += MINUTE_MS) {
      if (waited > LOADED_WITHIN_MS) throw new Violation('nothing stands in the way, and the first load is not complete');
      await stand.pass(MINUTE_MS);
    }
    stand.isProbed = phase === 'under traffic';
    stand.probeEveryMs = phase === 'under traffic' ? 6 * SECOND_MS : MINUTE_MS;
    await stand.pass(10 * MINUTE_MS);
  }
  world.crm.refusals.begin(refusal);
}

/** @returns how long after its second strike the incident was open. */
async function standFor(stand: Stand): Promise<number> {
  const { world, refusal, given: { fault } } = stand;
  let [metAtMs, reportedAtMs] = [0, 0];
  for (let stood = 0; stood < standsMs(fault); stood += SECOND_MS) {
    if (metAtMs === 0 && stood % (30 * SECOND_MS) === 0) provoke(stand, stood / (30 * SECOND_MS));
    await stand.pass(SECOND_MS);
    const strikes = world.crm.refusals.strikes(refusal);
    if (metAtMs === 0 && strikes >= 2) metAtMs = world.time.now();
    if (reportedAtMs === 0 && (await stand.incident()) !== undefined) reportedAtMs = world.time.now();
    if (metAtMs > 0 && reportedAtMs === 0 && world.time.now() - metAtMs > (fault.reportedWithinMs ?? REPORTED_WITHIN_MS)) throw new Violation(`no incident ${fault.incidents.join(' or ')} of ${refusal.module} in time; open: ${await openIncidents(world)}`);
  }
  if (world.crm.refusals.strikes(refusal) === 0) throw new Violation('the fault was never met');
  if (reportedAtMs === 0 || (await stand.incident()) === undefined) throw new Violation(`the fault stands, and its incident is not open; open: ${await openIncidents(world)}`);
  return Math.max(0, reportedAtMs - metAtMs);
}

/** @returns how long after the lifting all was equal and the incident closed. */
async function heal(stand: Stand): Promise<number> {
  stand.isProbed = false;
  for (let waited = 0; ; waited += MINUTE_MS) {
    await stand.pass(MINUTE_MS);
    const problem = await problemOf(stand);
    if (problem === null) return waited + MINUTE_MS;
    if (waited >= EQUAL_WITHIN_MS) throw new Violation(`three hours after the lifting: ${problem}`);
  }
}

async function problemOf({ world, watch, given: { module }, isLoaded }: Stand): Promise<string | null> {
  if (!isLoaded) return 'the first load is not complete';
  const open = (await world.incidents.list()).filter((one) => one.module === module.apiName && one.kind !== 'channel-shortened');
  if (open.length > 0) return `open: ${await openIncidents(world)}`;
  try {
    watch.checkEquality('a fault that stood');
    return null;
  } catch (error) {
    if (error instanceof Violation) return error.message;
    throw error;
  }
}

const openIncidents = async (world: World): Promise<string> => (await world.incidents.list()).map(({ module, kind, details }) => `${module} ${kind}: ${details}`).join('; ') || 'none';
