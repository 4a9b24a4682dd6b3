import { type Random, seededRandom } from '@lockstep/crm-simulator';
import { type AppName, appNames } from '@lockstep/harness';

/** One thing that happens in a storm. A `share` says where among a module's records: 0 the first, 1 the last. */
export type Act =
  | { readonly act: 'faults'; readonly faults: Readonly<Record<string, number>> }
  | { readonly act: 'kill'; readonly app: AppName }
  | { readonly act: 'crash'; readonly service: 'kafka' | 'postgres'; readonly downMs: number }
  | { readonly act: 'mass-edit'; readonly module: string; readonly share: number; readonly count: number; readonly manner: 'notified' | 'silent' | 'keeps-time' }
  | { readonly act: 'restore'; readonly module: string; readonly share: number; readonly isSilent: boolean }
  | { readonly act: 'end-tokens' };

/** When it happens, from the beginning of the storm. */
export type Step = Act & { readonly atMs: number };

/** How strong each fault blows: probabilities, and milliseconds of what ends in `Ms`. Sums of lag and skew stay below the margin and ε of the storm. */
const gusts: Readonly<Record<string, readonly [least: number, most: number]>> = {
  drop: [0.2, 1],
  double: [0.2, 0.8],
  reorder: [0.3, 1],
  noise: [0.2, 0.8],
  serverError: [0.05, 0.4],
  htmlError: [0.05, 0.3],
  tooMany: [0.05, 0.3],
  cut: [0.05, 0.3],
  slow: [0.1, 0.5],
  staleMs: [500, 2_500],
  truncatedResult: [0.1, 0.3],
  skewMs: [500, 1_500],
};

const [GUST_LEAST_MS, GUST_MOST_MS] = [5_000, 12_000];
const [KILL_EVERY_MS, MASS_EDIT_EVERY_MS, RESTORE_EVERY_MS] = [8_000, 4_000, 3_000];

/** Every fault with nothing in it, and what never changes of them. */
export const calm: Readonly<Record<string, number>> = { ...Object.fromEntries(Object.keys(gusts).map((kind) => [kind, 0])), holdBackMs: 2_000, slowMs: 1_500 };

/** Makes up a storm: the same seed and length, the same storm. Each fault comes twice, each process is killed, broker and database crash once. */
export function planStorm({ seed, seconds, modules }: { seed: number; seconds: number; modules: readonly string[] }): readonly Step[] {
  const random = seededRandom(seed);
  const lengthMs = seconds * 1000;
  const steps = [...faultSteps(random, lengthMs), ...killSteps(random, lengthMs), ...crashSteps(random, lengthMs), ...changeSteps(random, lengthMs, modules)];
  return steps.toSorted((a, b) => a.atMs - b.atMs);
}

function faultSteps(random: Random, lengthMs: number): Step[] {
  return Object.entries(gusts).flatMap(([kind, [least, most]]) =>
    [0, 0.5].flatMap((half): Step[] => {
      const fromMs = (half + random.next() * 0.35) * lengthMs;
      const strength = least + random.next() * (most - least);
      const untilMs = Math.min(fromMs + between(random, GUST_LEAST_MS, GUST_MOST_MS), (half + 0.5) * lengthMs);
      return [
        { atMs: fromMs, act: 'faults', faults: { [kind]: kind.endsWith('Ms') ? Math.round(strength) : Math.round(strength * 100) / 100 } },
        { atMs: untilMs, act: 'faults', faults: { [kind]: 0 } },
      ];
    }));
}

/** Each app once, then whichever it hits. */
function killSteps(random: Random, lengthMs: number): Step[] {
  const count = Math.max(appNames.length, Math.floor(lengthMs / KILL_EVERY_MS));
  return Array.from({ length: count }, (_, at): Step => {
    const app = appNames[at] ?? pick(random, appNames);
    return { atMs: random.next() * lengthMs, act: 'kill', app };
  });
}

function crashSteps(random: Random, lengthMs: number): Step[] {
  const halves = random.below(2) === 0 ? [0.1, 0.55] : [0.55, 0.1];
  return (['kafka', 'postgres'] as const).map((service, at) => ({ atMs: ((halves[at] ?? 0) + random.next() * 0.3) * lengthMs, act: 'crash', service, downMs: Math.round(between(random, 0, 3_000)) }));
}

function changeSteps(random: Random, lengthMs: number, modules: readonly string[]): Step[] {
  const times = (everyMs: number): number[] => Array.from({ length: Math.ceil(lengthMs / everyMs) }, () => random.next() * lengthMs);
  return [
    ...times(MASS_EDIT_EVERY_MS).map((atMs): Step => ({ atMs, act: 'mass-edit', module: pick(random, modules), share: random.next(), count: 10 + random.below(240), manner: pick(random, ['notified', 'silent', 'keeps-time'] as const) })),
    ...times(RESTORE_EVERY_MS).map((atMs): Step => ({ atMs, act: 'restore', module: pick(random, modules), share: random.next(), isSilent: random.below(2) === 0 })),
    { atMs: random.next() * lengthMs, act: 'end-tokens' },
  ];
}

const between = (random: Random, least: number, most: number): number => least + random.next() * (most - least);
const pick = <T>(random: Random, list: readonly T[]): T => list[random.below(list.length)] as T;
