import { describe, expect, test } from 'vitest';

import { planStorm } from './plan.ts';

const modules = ['Leads', 'Deals'];
const plan = (seed: number) => planStorm({ seed, seconds: 40, modules });

describe('a storm', () => {
  test('is the same for the same seed, and another for another', () => {
    expect(plan(7)).toEqual(plan(7));
    expect(plan(7)).not.toEqual(plan(8));
  });

  test.each([1, 2, 3])('of seed %i kills each app, crashes broker and database once, and leaves no fault behind', (seed) => {
    const steps = plan(seed);
    const killed = steps.flatMap((step) => (step.act === 'kill' ? [step.app] : []));
    expect(new Set(killed)).toEqual(new Set(['ingress', 'projector', 'scheduler']));
    expect(steps.flatMap((step) => (step.act === 'crash' ? [step.service] : [])).toSorted()).toEqual(['kafka', 'postgres']);
    const left = Object.assign({}, ...steps.flatMap((step) => (step.act === 'faults' ? [step.faults] : []))) as Record<string, number>;
    expect(new Set(Object.values(left))).toEqual(new Set([0]));
    expect(Object.keys(left)).toHaveLength(12);
  });

  test('happens in order, within its time', () => {
    const times = plan(4).map(({ atMs }) => atMs);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    expect(Math.min(...times)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...times)).toBeLessThanOrEqual(40_000);
  });
});
