import { seededRandom } from '@lockstep/crm-simulator';
import { describe, expect, test } from 'vitest';

import { simulatedModules } from '../modules.ts';
import { liveStanding, nameOf, standingCases } from './live-standing.ts';
import { standingFaults, standingPhases } from './standing-faults.ts';

/* `npm run simulate -- --standing` lives the whole dimension; here each fault is met in one module and phase, and each phase by several faults. */

const random = seededRandom(15);
const all = standingCases(1);
const sample = standingFaults.map((fault, at) => {
  const module = simulatedModules[random.below(simulatedModules.length)];
  const phases = fault.phases ?? standingPhases;
  return all.find((one) => one.fault === fault && one.module === module && one.phase === phases[at % phases.length]);
});

describe('while a fault stands, nothing but what it touches is late, and once it is lifted all is equal without a restart', () => {
  test.each(sample.map((one) => [one === undefined ? '' : nameOf(one), one] as const))('%s', async (_, one) => {
    if (one === undefined) throw new RangeError('there is no such case');
    const { probes, reportedMs } = await liveStanding(one);
    expect([probes > 100, reportedMs <= 240_000]).toEqual([true, true]);
  }, 60_000);
});

test('a field that was removed before the first load stops nothing of it, and all rows have its values once it is back', async () => {
  for (const one of all.filter(({ fault, module, phase }) => fault.kind === 'field' && module.apiName === 'Leads' && phase === 'before the first load')) {
    const { probes, isLoaded } = await liveStanding(one);
    expect([probes > 100, isLoaded]).toEqual([true, true]);
  }
}, 60_000);
