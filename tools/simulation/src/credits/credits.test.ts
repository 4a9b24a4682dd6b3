import { dayBucket } from '@lockstep/completeness';
import { describe, expect, test } from 'vitest';

import { CreditCount } from './credit-count.ts';
import { type CreditDay, liveCreditDay } from './credit-day.ts';

/* The whole table takes minutes: npm run simulate -- --credits. These are its corners. */

const live = (day: Omit<CreditDay, 'seed'>) => liveCreditDay({ seed: 7, warmUpHours: 0, ...day });

describe('a day of edits', () => {
  test.each([[0.1, 5_000], [0.3, 5_000]])('at %f a second and module costs no more than is above the reserve of %i credits, in any 24 hours', async (editsPerSecond, perDay) => {
    const { mostOfADay, allowed, unseenMs, maxMs, incidents, byPurpose } = await live({ editsPerSecond, perDay, measuredHours: 26 });
    expect(mostOfADay).toBeLessThanOrEqual(allowed);
    // And most of it is used.
    expect(mostOfADay).toBeGreaterThan(allowed * 0.7);
    expect(maxMs).toBeLessThan(20 * 60_000);
    expect(unseenMs).toBeLessThan(20 * 60_000);
    expect([incidents.has('credits-scarce'), incidents.has('credits-low'), incidents.has('channel-deaf')]).toEqual([true, false, false]);
    expect(byPurpose.get('retry') ?? 0).toBe(0);
  }, 300_000);

  test('that floods the CRM becomes catch-ups, which cost no more than flows in and what was there', async () => {
    const hours = 3;
    const { mostOfADay, byPurpose, catchUps } = await live({ editsPerSecond: 4, perDay: 5_000, measuredHours: hours });
    const { capacity, perDay } = dayBucket({ perDay: 5_000, reserve: 0.25 });
    expect(mostOfADay).toBeLessThanOrEqual(capacity + (perDay * hours) / 24);
    // As long as the bucket is half full, all goes on as ever.
    expect(byPurpose.get('look')).toBeLessThanOrEqual(capacity / 2);
    expect(catchUps).toBeGreaterThanOrEqual(6);
  }, 300_000);

  test('that the credits suffice for arrives at once, and nothing is coarser', async () => {
    const { p99Ms, incidents } = await live({ editsPerSecond: 0.1, perDay: 500_000, measuredHours: 4 });
    expect(p99Ms).toBeLessThan(5_000);
    expect([...incidents]).toEqual([]);
  }, 120_000);
});

test('a CRM that answers nothing for a day costs one per cent of it in retries, and all arrives afterwards', async () => {
  const { byPurpose, mostOfADay, allowed, unseenMs } = await live({ editsPerSecond: 0.1, perDay: 5_000, measuredHours: 30, away: { fromHour: 1, toHour: 25 } });
  expect(byPurpose.get('retry')).toBeGreaterThan(20);
  expect(byPurpose.get('retry')).toBeLessThanOrEqual(50 * (30 / 24) + 25);
  expect(mostOfADay).toBeLessThanOrEqual(allowed);
  expect(unseenMs).toBeLessThan(20 * 60_000);
}, 300_000);

test('the CRM\'s own count finds the dearest 24 hours, wherever they begin', () => {
  const count = new CreditCount();
  const hour = 3_600_000;
  for (const [at, credits] of [[0, 5], [20, 7], [30, 9], [50, 1]] as const) count.add(at * hour, 'look', credits);
  expect([count.mostOfADay(), count.ofDay(30 * hour), count.byKind.get('look')]).toEqual([16, 16, 22]);
});
