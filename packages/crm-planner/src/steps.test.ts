import { CrmError } from '@lockstep/crm-client';
import { deals, leads } from '@lockstep/modules';
import { expect, test } from 'vitest';

import { Steps } from './steps.ts';

function stepsAt() {
  const clock = { ms: 0 };
  return { clock, steps: new Steps({ time: { elapsed: () => clock.ms } }) };
}

test('a step that fails waits longer each time, up to a minute, and delays no other step and no other module', async () => {
  const { clock, steps } = stepsAt();
  const tried: number[] = [];
  const others: string[] = [];
  for (; clock.ms <= 200_000; clock.ms += 1_000) {
    await steps.run(leads, 'pages', () => {
      tried.push(clock.ms / 1_000);
      return Promise.reject(new CrmError('no', 'CRM_REFUSED'));
    });
    for (const [module, step] of [[leads, 'audit'], [deals, 'pages']] as const) await steps.run(module, step, async () => others.push(step));
  }
  expect(tried).toEqual([0, 1, 3, 7, 15, 31, 63, 123, 183]);
  expect(others).toHaveLength(402);
  expect(() => steps.throwFailures(leads)).toThrow('no');
  expect(() => steps.throwFailures(deals)).not.toThrow();
});

test('a store that is away is asked again within five seconds', async () => {
  const { clock, steps } = stepsAt();
  let tries = 0;
  for (; clock.ms < 60_000; clock.ms += 1_000) await steps.run(leads, 'pages', () => Promise.reject(new Error(`away ${(tries += 1)}`)));
  expect(tries).toBe(14);
});

test('a step that goes on fails no more, and all that fail are named', async () => {
  const { clock, steps } = stepsAt();
  await steps.run(leads, 'pages', () => Promise.reject(new Error('pages')));
  await steps.run(leads, 'audit', () => Promise.reject(new Error('audit')));
  expect(() => steps.throwFailures(leads)).toThrow('pages; audit');
  clock.ms = 1_000;
  expect(await steps.run(leads, 'pages', () => Promise.resolve(7))).toBe(7);
  expect([steps.failureOf(leads, 'pages'), steps.failureOf(leads, 'audit')]).toEqual([null, new Error('audit')]);
});
