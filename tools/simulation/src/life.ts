import type { Random } from '@lockstep/crm-simulator';
import type { ModuleDefinition } from '@lockstep/modules';

import { stepSomeClock } from './host-clocks.ts';
import type { Watch } from './invariants.ts';
import { type CrmFaults, noFaults } from './virtual-crm.ts';
import { roles, type World } from './world.ts';

/* What happens in a world: people work in the CRM, its weather changes, processes die. All of it follows from the seed. */

const HOUR_MS = 3_600_000;

/** How rough a world is. */
export type Roughness = { readonly faults: boolean; readonly deaths: boolean; readonly outages: boolean; readonly clocks: boolean };

const values: Readonly<Record<string, (random: Random) => Readonly<Record<string, unknown>>>> = {
  Leads: (random) => [{ Company: `Company ${random.below(1_000)}` }, { Lead_Score: random.below(100) }, { Email_Opt_Out: random.below(2) === 0 }, { Last_Name: `Name "${random.below(50)}",\nJr.` }][random.below(4)] ?? {},
  Deals: (random) => [{ Deal_Name: `Deal ${random.below(1_000)}` }, { Probability: random.below(101) }][random.below(2)] ?? {},
};
const firstValues: Readonly<Record<string, Readonly<Record<string, unknown>>>> = { Leads: { Last_Name: 'New' }, Deals: { Deal_Name: 'New', Stage: 'Qualification' } };

/** People at work in the CRM until the world's time is up. */
export class Life {
  readonly #world: World;
  readonly #watch: Watch;
  readonly #random: Random;
  readonly #bin = new Map<ModuleDefinition, string[]>();
  changes = 0;

  constructor(world: World, watch: Watch) {
    this.#world = world;
    this.#watch = watch;
    this.#random = world.random;
  }

  /** One change, or several within a second. */
  act(): void {
    const module = this.#world.options.modules[this.#random.below(this.#world.options.modules.length)] as ModuleDefinition;
    const dice = this.#random.below(100);
    this.changes += 1;
    if (dice < 55) this.#edit(module, 1);
    else if (dice < 65) this.#edit(module, 2 + this.#random.below(10));
    else if (dice < 75) this.#create(module);
    else if (dice < 88) this.#delete(module);
    else if (dice < 94) this.#restore(module);
    else if (dice < 99) this.#formula(module);
    else this.#import(module);
  }

  #someId(module: ModuleDefinition): string | undefined {
    const ids = this.#world.crm.records.ids(module.apiName);
    return ids[this.#random.below(ids.length)];
  }

  #edit(module: ModuleDefinition, count: number): void {
    const ids = [...new Set(Array.from({ length: count }, () => this.#someId(module)).filter((id) => id !== undefined))];
    if (ids.length === 0) return;
    const isMass = count > 1;
    this.#world.crm.edit(module.apiName, ids, this.#values(module), { isTold: !isMass || this.#random.below(3) === 0, isLate: isMass });
    for (const id of ids) this.#watch.changed(module, id);
    // Again within the second: only the content tells the two apart.
    const [first] = ids;
    if (!isMass && first !== undefined && this.#random.below(4) === 0) {
      this.#world.time.after(this.#random.below(900), () => {
        if (this.#world.crm.records.truth(module.apiName, first) === undefined) return;
        this.#world.crm.edit(module.apiName, [first], this.#values(module));
        this.#watch.changed(module, first);
      });
    }
  }

  #create(module: ModuleDefinition): void {
    this.#watch.changed(module, this.#world.crm.create(module.apiName, firstValues[module.apiName] ?? {}, this.#random.below(10) > 0));
  }

  #delete(module: ModuleDefinition): void {
    const id = this.#someId(module);
    if (id === undefined) return;
    this.#world.crm.delete(module.apiName, id, this.#random.below(4) > 0);
    this.#watch.changed(module, id);
    this.#bin.set(module, [...(this.#bin.get(module) ?? []), id]);
  }

  /** Out of the recycle bin, with the old `Modified_Time`; often nobody is told. */
  #restore(module: ModuleDefinition): void {
    const bin = this.#bin.get(module) ?? [];
    const id = bin[this.#random.below(bin.length)];
    if (id === undefined) return;
    this.#bin.set(module, bin.filter((one) => one !== id));
    this.#world.crm.restore(module.apiName, id, this.#random.below(2) === 0);
    this.#watch.restored(module, id);
  }

  /** A change without a new `Modified_Time`, which nobody is told of. */
  #formula(module: ModuleDefinition): void {
    const id = this.#someId(module);
    if (id === undefined) return;
    this.#world.crm.edit(module.apiName, [id], this.#values(module), { keepsTime: true });
    this.#watch.changedWithoutTime(module, id);
  }

  /** An import that stamps what it likes: minutes ahead, or years. Nobody is told, and later edits of the record seem older. */
  #import(module: ModuleDefinition): void {
    const id = this.#someId(module);
    if (id === undefined) return;
    const aheadMs = this.#random.below(2) === 0 ? this.#random.below(3_600_000) : this.#random.below(1_000_000) * 86_400;
    this.#world.crm.edit(module.apiName, [id], this.#values(module), { isTold: false, modifiedMs: this.#world.time.now() + aheadMs });
    this.#watch.stampedAhead(module, id);
  }

  #values(module: ModuleDefinition): Readonly<Record<string, unknown>> {
    return values[module.apiName]?.(this.#random) ?? {};
  }
}

/** The faults of the next while. Sums of skew and lag stay below ε, and of lateness below the watermark's margin: so it is promised. */
export function weather(random: Random, { faults, clocks }: Pick<Roughness, 'faults' | 'clocks'>): CrmFaults {
  if (!faults) return noFaults;
  const sometimes = (most: number): number => (random.below(2) === 0 ? 0 : random.next() * most);
  return { error: sometimes(0.2), stale: sometimes(0.5), staleMs: 1 + random.below(20_000), lagMs: random.below(5_000), lateMs: random.below(75_000), slow: sometimes(0.05), jobFailure: sometimes(0.3), shortExpiry: sometimes(0.5), drop: sometimes(0.6), double: sometimes(0.4), delayed: sometimes(0.4), wrongDate: clocks ? sometimes(0.1) : 0, dateAheadMs: 0 };
}

/** Kills or silences something for a while. */
export function strike({ world, watch, random, roughness }: { world: World; watch: Watch; random: Random; roughness: Roughness }): void {
  if (roughness.clocks && random.below(2) === 0) {
    const { name, isBack } = stepSomeClock(world.clocks, random);
    if (name === 'crm' && isBack) watch.setBack(HOUR_MS);
  }
  const role = roles[random.below(roles.length)] ?? 'reader';
  if (roughness.deaths && random.below(2) === 0) world.kill(role);
  if (roughness.outages && random.below(6) === 0) for (const one of roles) world.kill(one);
  if (roughness.faults && random.below(6) === 0) world.crm.loseChannel(world.options.modules[0]?.apiName ?? '');
}
