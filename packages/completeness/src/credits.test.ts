import { describe, expect, test } from 'vitest';

import { defaultCatchUpRules } from './catch-up-plan.ts';
import { aboveReserve, affordableRules, bulkPlan, catchUpCredits, type Credits, creditsLeft, isAffordable, isLow } from './credits.ts';

const given = (change: Partial<Credits> = {}): Credits => ({ perDay: 10_000, reserve: 0.25, spent: 0, remaining: null, ...change });
const DAY_MS = 86_400_000;
/** The rules that so many credits a day pay for, of three modules that change so often a second. */
const paid = (creditsADay: number, perSecond = 0) => affordableRules(defaultCatchUpRules, creditsADay / DAY_MS, [perSecond, perSecond, perSecond].map((rate) => rate / 1_000));

describe('what is left', () => {
  test('is counted by us, and less where the CRM says so', () => {
    expect(creditsLeft(given({ spent: 4_000 }))).toBe(6_000);
    expect(creditsLeft(given({ spent: 4_000, remaining: 4_500 }))).toBe(4_500);
    expect(creditsLeft(given({ spent: 8_000, remaining: 4_500 }))).toBe(2_000);
  });

  test('is not known without the day\'s credits: then nothing is held back', () => {
    const unknown = given({ perDay: null, spent: 1_000_000, remaining: 1 });
    expect([creditsLeft(unknown), aboveReserve(unknown), isLow(unknown)]).toEqual([null, Infinity, false]);
    expect(isAffordable(unknown, bulkPlan(100_000_000))).toBe(true);
  });

  test('is low at the reserve', () => {
    expect([isLow(given({ spent: 7_499 })), isLow(given({ spent: 7_500 })), isLow(given({ remaining: 2_500 }))]).toEqual([false, true, true]);
  });
});

describe('a catch-up', () => {
  test('costs a small page and the deleted list, three credits for each 2,000 rows more, and a job beyond 33,000', () => {
    expect([0, 200, 201, 2_200, 2_201, 33_000, 33_001].map(catchUpCredits)).toEqual([3, 3, 6, 6, 9, 54, 54 + 76]);
  });
});

describe('the rules of catch-ups', () => {
  test('are the wanted ones where a day of them can be paid for', () => {
    expect(paid(6_480)).toBe(defaultCatchUpRules);
    expect(affordableRules(defaultCatchUpRules, Number.POSITIVE_INFINITY, [1_000])).toBe(defaultCatchUpRules);
  });

  test.each([[3_000, 0], [1_000, 0], [3_000, 0.1], [3_000, 1], [30_000, 10], [3_000, 10]])('%i credits a day are enough for what they choose, at %f changes a second', (creditsADay, perSecond) => {
    const { intervalMs, secondPassEveryMs, secondPassOverMs, marginMs } = paid(creditsADay, perSecond);
    const usual = catchUpCredits((perSecond / 1_000) * (intervalMs + marginMs));
    const second = catchUpCredits((perSecond / 1_000) * secondPassOverMs);
    const passes = DAY_MS / secondPassEveryMs;
    expect(3 * (usual * (DAY_MS / intervalMs - passes) + second * passes)).toBeLessThanOrEqual(creditsADay + 1e-6);
    // And not for a much shorter interval.
    expect(intervalMs === defaultCatchUpRules.intervalMs || paid(creditsADay * 1.3, perSecond).intervalMs < intervalMs).toBe(true);
  });

  test('go back over half an hour more than their second passes are apart, so that what shows late is still met', () => {
    const { intervalMs, secondPassEveryMs, secondPassOverMs } = paid(200);
    expect(intervalMs).toBeGreaterThan(3_600_000);
    expect([secondPassEveryMs, secondPassOverMs]).toEqual([intervalMs, intervalMs + 30 * 60_000]);
  });

  test('have six hours at most, however little there is', () => {
    expect(paid(0).intervalMs).toBe(6 * 3_600_000);
    expect(affordableRules({ ...defaultCatchUpRules, intervalMs: 24 * 3_600_000 }, 0, [1]).intervalMs).toBe(24 * 3_600_000);
  });
});

describe('a read in bulk', () => {
  test('costs a job, its polls and a download a page', () => {
    expect(bulkPlan(200_000)).toEqual({ rows: 200_000, pages: 1, credits: 76 });
    expect(bulkPlan(200_001)).toEqual({ rows: 200_001, pages: 2, credits: 152 });
    expect(bulkPlan(0).pages).toBe(1);
  });

  test('is affordable as long as the reserve stays whole', () => {
    expect(isAffordable(given({ spent: 7_424 }), bulkPlan(1))).toBe(true);
    expect(isAffordable(given({ spent: 7_425 }), bulkPlan(1))).toBe(false);
  });
});
