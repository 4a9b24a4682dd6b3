import { describe, expect, test } from 'vitest';

import { aboveReserve, bulkPlan, catchUpIntervalMs, type Credits, creditsLeft, isAffordable, isLow } from './credits.ts';

const given = (change: Partial<Credits> = {}): Credits => ({ perDay: 10_000, reserve: 0.25, spent: 0, spentOnCatchUps: 0, remaining: null, ...change });
const rules = { intervalMs: 120_000, modules: 3 };
const minutes = (credits: Credits): number => catchUpIntervalMs(credits, rules) / 60_000;

describe('what is left', () => {
  test('is counted by us, and less where the CRM says so', () => {
    expect(creditsLeft(given({ spent: 4_000 }))).toBe(6_000);
    expect(creditsLeft(given({ spent: 4_000, remaining: 4_500 }))).toBe(4_500);
    expect(creditsLeft(given({ spent: 8_000, remaining: 4_500 }))).toBe(2_000);
  });

  test('is not known without the day\'s credits: then nothing is held back', () => {
    const unknown = given({ perDay: null, spent: 1_000_000, remaining: 1 });
    expect([creditsLeft(unknown), aboveReserve(unknown), isLow(unknown), catchUpIntervalMs(unknown, rules)]).toEqual([null, Infinity, false, 120_000]);
    expect(isAffordable(unknown, bulkPlan(100_000_000))).toBe(true);
  });

  test('is low at the reserve', () => {
    expect([isLow(given({ spent: 7_499 })), isLow(given({ spent: 7_500 })), isLow(given({ remaining: 2_500 }))]).toEqual([false, true, true]);
  });
});

describe('the interval between catch-ups', () => {
  test('is the wanted one where a day of it fits', () => {
    expect(minutes(given())).toBe(2);
    expect(minutes(given({ perDay: 5_000_000, spent: 1_000_000 }))).toBe(2);
  });

  test('is as long as makes a day of it fit, where it does not', () => {
    // 3 modules at 3 credits: 3,750 credits a day pay for one round in 3 min 27 s.
    const credits = given({ perDay: 5_000 });
    expect(minutes(credits)).toBeCloseTo(3.456, 3);
    expect((86_400_000 / catchUpIntervalMs(credits, rules)) * 9).toBeLessThanOrEqual(3_750);
  });

  test('stays where it is while it uses what it was given', () => {
    const before = catchUpIntervalMs(given({ perDay: 5_000 }), rules);
    const spent = Math.floor((86_400_000 / before) * 9 / 2);
    expect(catchUpIntervalMs(given({ perDay: 5_000, spent, spentOnCatchUps: spent }), rules)).toBe(before);
  });

  test('grows with what is used for other things, by us or by others', () => {
    expect(minutes(given({ perDay: 5_000, spent: 2_000 }))).toBeCloseTo(7.406, 3);
    expect(minutes(given({ perDay: 5_000, remaining: 3_000 }))).toBeCloseTo(7.406, 3);
  });

  test('is half an hour at most, and that below the reserve', () => {
    expect(minutes(given({ perDay: 5_000, spent: 3_740 }))).toBe(30);
    expect(minutes(given({ perDay: 5_000, spent: 4_900, spentOnCatchUps: 4_900 }))).toBe(30);
    expect(catchUpIntervalMs(given({ spent: 9_999 }), { ...rules, intervalMs: 3_600_000 })).toBe(3_600_000);
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
