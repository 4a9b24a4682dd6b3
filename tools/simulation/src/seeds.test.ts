import { describe, expect, test } from 'vitest';

import { simulate } from './simulate.ts';

/** Seeds that failed once are kept here, with what they found. */
const kept: readonly (readonly [seed: number, found: string])[] = [
  [30, 'a look that is parked counts for as long as its record stays dead, when the clock of the CRM was set back between the two'],
  [183, 'a look that is parked and lies in the future is not cut'],
  [248, 'a deletion that is parked and lies in the future is not cut, and keeps the next one from the log'],
  [271, 'a look by a clock that is behind counts as overtaken by a look at what stood before it'],
  [87, 'a process that begins believes one wrong Date, where its own clock is off as much'],
  [562, 'of two contents that wait the one stamped later is applied, though it was seen before the clock of the CRM was set back'],
  [749, 'a deletion whose time was cut is never settled, as the list names an earlier time'],
  [779, 'a content that was parked before the clock of the CRM was set back stays parked when its record is deleted'],
  [1784, 'three rows that pass on two unique values, one of which may not be empty, are in each other\'s way for good'],
  [2196, 'a content that waits counts as observed when it was tried last'],
];

describe('a world', () => {
  test.each(Array.from({ length: 24 }, (_, i) => 1 + i))('of seed %i ends with tables that equal the CRM, and freshness never lied', async (seed) => {
    const { checks } = await simulate(seed);
    expect(checks).toBeGreaterThan(0);
  });

  test.each(kept)('of seed %i, which once found that %s', async (seed) => {
    expect(await simulate(seed)).toMatchObject({ seed });
  });

  test('takes the same course whenever it is lived', async () => {
    expect(await simulate(7)).toEqual(await simulate(7));
  });
});
