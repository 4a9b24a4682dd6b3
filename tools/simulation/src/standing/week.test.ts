import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

import { expect, test } from 'vitest';

import { liveWeek } from './live-week.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

// The world keeps its log, and every version of every record, so its heap is not flat.
test('in a week of faults that stand, no day adds more to a table than the second did, and the heap grows by less than 5 MB a day', async () => {
  const { days, equalAfterMinutes } = await liveWeek(7, collect);
  const [, second, ...rest] = days;
  if (second === undefined) throw new RangeError('there was no second day');
  for (const day of rest) {
    for (const [table, rows] of Object.entries(day.rows)) expect([table, day.day, rows <= (second.rows[table] ?? 0) * 1.25 + 10]).toEqual([table, day.day, true]);
    expect(day.heapMb).toBeLessThan(second.heapMb + 5 * (day.day - 2));
    expect(day.credits).toBeLessThan(second.credits * 1.2 + 200);
  }
  expect(equalAfterMinutes).toBeLessThan(12 * 60);
}, 300_000);
