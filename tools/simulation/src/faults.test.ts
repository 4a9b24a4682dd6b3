import { expect, test } from 'vitest';

import { Meetings, neverMet, type Phase, printed, sumOf } from './faults.ts';

test('counts each fault in the phase in which it was met, and names those that were never met', () => {
  let phase: Phase = 'loading';
  const [one, other] = [new Meetings(() => phase), new Meetings(() => 'quiet')];
  one.note('call-failed');
  phase = 'bulk';
  one.note('call-failed');
  other.note('call-failed');
  other.note('record-merged');
  const met = sumOf([one.all, other.all]);
  expect(met['call-failed']).toEqual({ loading: 1, bulk: 1, 'catch-up': 0, quiet: 1 });
  expect(neverMet(met)).not.toContain('record-merged');
  expect(neverMet(met)).toContain('process-died');
  expect(printed(met).split('\n')[1]).toBe('call-failed                    1         1         0         1');
});
