import type { Random } from '@lockstep/crm-simulator';
import type { ModuleDefinition } from '@lockstep/modules';

import { stepSomeClock } from './host-clocks.ts';
import type { Watch } from './invariants.ts';
import type { Refusal } from './refusals.ts';
import { type CrmFaults, noFaults } from './virtual-crm.ts';
import { noTroubles, roles, type Troubles, type World } from './world.ts';

/* What goes wrong around the people at work. All of it follows from the seed; `faults.ts` lists it. */

/** How rough a world is. */
export type Roughness = {
  /** Of the CRM. */
  readonly faults: boolean;
  readonly deaths: boolean;
  readonly outages: boolean;
  /** Of stores and log, while every process lives. */
  readonly troubles: boolean;
  /** Clocks that are set, and replies with a wrong `Date`. */
  readonly clocks: boolean;
};

const HOUR_MS = 3_600_000;

/** The faults of the next while. Sums of skew and lag stay below ε, and of lateness below the watermark's margin: so it is promised. */
export function weather(random: Random, { faults, clocks }: Pick<Roughness, 'faults' | 'clocks'>): CrmFaults {
  if (!faults) return noFaults;
  const sometimes = (most: number): number => (random.below(2) === 0 ? 0 : random.next() * most);
  return { error: sometimes(0.2), stale: sometimes(0.5), staleMs: 1 + random.below(20_000), lagMs: random.below(5_000), lateMs: random.below(75_000), slow: sometimes(0.05), jobFailure: sometimes(0.3), shortExpiry: sometimes(0.5), drop: sometimes(0.6), double: sometimes(0.4), delayed: sometimes(0.4), wrongDate: clocks ? sometimes(0.1) : 0, dateAheadMs: 0 };
}

/** How often calls of stores and log fail for the next while. */
export function troublesOf(random: Random, { troubles }: Pick<Roughness, 'troubles'>): Troubles {
  if (!troubles) return noTroubles;
  const sometimes = (most: number): number => (random.below(2) === 0 ? 0 : random.next() * most);
  return { store: sometimes(0.02), log: sometimes(0.05), half: sometimes(0.2) };
}

/** Kills, silences or moves something. */
export function strike({ world, watch, random, roughness }: { world: World; watch: Watch; random: Random; roughness: Roughness }): void {
  if (roughness.clocks && random.below(2) === 0) setSomeClock(world, watch, random);
  const role = roles[random.below(roles.length)] ?? 'reader';
  if (roughness.deaths && random.below(2) === 0) world.kill(role);
  if (roughness.outages && random.below(6) === 0) {
    world.met.note('everything-died');
    for (const one of roles) world.kill(one);
  }
  if (roughness.faults && random.below(6) === 0) world.crm.loseChannel(world.options.modules[0]?.apiName ?? '');
  if (roughness.troubles && random.below(3) === 0) world.takeAway(random.below(2) === 0 ? 'store' : 'log', random.below(90_000));
  if (random.below(2) === 0) world.rebalance();
}

function setSomeClock({ clocks, met }: World, watch: Watch, random: Random): void {
  const { name, isBack } = stepSomeClock(clocks, random);
  met.note(name === 'crm' || name === 'database' ? `${name}-clock-set` : 'host-clock-set');
  if (name === 'crm' && isBack) watch.setBack(HOUR_MS);
}

/** Something that is refused from now on. */
export function refusalOf(random: Random, { options, crm }: World): Refusal {
  const { apiName: module, fields } = options.modules[random.below(options.modules.length)] as ModuleDefinition;
  const ids = crm.records.ids(module);
  const id = ids[random.below(ids.length)] ?? '';
  const kinds: readonly Refusal[] = [
    { kind: 'jobs', module },
    { kind: 'list', module },
    { kind: 'look', module, id },
    { kind: 'time', module, id },
    { kind: 'field', module, field: fields[random.below(fields.length)]?.field ?? '' },
  ];
  return kinds[random.below(kinds.length)] as Refusal;
}

/** Up to three more, so that several stand at once beside kills and outages. Rows of Products are spared: what conflicts with one that is refused has no excuse of its own. */
export function furtherRefusals(random: Random, { options, crm }: World): Refusal[] {
  return Array.from({ length: random.below(4) }, () => {
    const { apiName: module } = options.modules[random.below(options.modules.length)] as ModuleDefinition;
    const ids = crm.records.ids(module);
    const id = ids[random.below(ids.length)] ?? '';
    const ofModule = (['job-lost', 'download', 'deletions', 'list-endless', 'scan', 'window', 'channel'] as const).map((kind): Refusal => ({ kind, module }));
    const ofRecord = (module === 'Products' ? (['server'] as const) : (['server', 'row', 'locked'] as const)).map((kind): Refusal => ({ kind, module, id }));
    const kinds = [...ofModule, ...ofRecord];
    return kinds[random.below(kinds.length)] as Refusal;
  });
}
