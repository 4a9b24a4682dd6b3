import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { catchUpCreditsPerMs, creditsOfEdition, dayBucket, isCoarser, isFlood, keptFor, lookEveryMs, refilled, retryBucket, untilLevelMs } from './credit-bucket.ts';

const DAY_MS = 86_400_000;
const bucket = dayBucket({ perDay: 100_000, reserve: 0.25 });
const at = (share: number) => ({ ...bucket, level: bucket.capacity * share });

describe('a bucket', () => {
  test('whatever is taken out of it when, no 24 hours hold more than is above the reserve', () => {
    const draws = fc.array(fc.record({ afterMs: fc.integer({ min: 1_800_000, max: 5_400_000 }), share: fc.double({ min: 0, max: 1, noNaN: true }) }), { minLength: 40, maxLength: 60 });
    fc.assert(fc.property(draws, fc.constantFrom(5_000, 50_000, 500_000), (wanted, perDay) => {
      const day = dayBucket({ perDay, reserve: 0.25 });
      let [level, nowMs] = [Number.POSITIVE_INFINITY, 0];
      const taken: { atMs: number; credits: number }[] = [];
      for (const { afterMs, share } of wanted) {
        nowMs += afterMs;
        level = refilled(day, level, afterMs);
        const credits = level * share;
        level -= credits;
        taken.push({ atMs: nowMs, credits });
      }
      for (const { atMs } of taken) expect(taken.filter((one) => one.atMs >= atMs && one.atMs < atMs + DAY_MS).reduce((sum, { credits }) => sum + credits, 0)).toBeLessThanOrEqual(perDay * 0.75 + 1e-6);
    }));
  });

  test('of retries holds and takes in one per cent of the day together', () => {
    const { capacity, perDay } = retryBucket(5_000);
    expect(capacity + perDay).toBe(50);
  });

  test('says when so much will be in it', () => {
    expect(untilLevelMs({ capacity: 100, perDay: 86_400, level: 10 }, 70)).toBe(60_000);
    expect(untilLevelMs({ capacity: 100, perDay: 86_400, level: 80 }, 70)).toBe(0);
    expect(untilLevelMs({ capacity: 100, perDay: 86_400, level: 80 }, 101)).toBe(Number.POSITIVE_INFINITY);
  });

  test('keeps its last quarter from looks, and nothing from catch-ups', () => {
    expect([keptFor(bucket, 'look') / bucket.capacity, keptFor(bucket, 'bulk-read') / bucket.capacity, keptFor(bucket, 'catch-up')]).toEqual([0.25, 0.1, 0]);
  });
});

describe('the pace of looks', () => {
  test('is free while the bucket is half full, then coarser and coarser, and ends at a quarter', () => {
    expect([1, 0.5, 0.25, 0].map((share) => lookEveryMs(at(share)))).toEqual([0, 0, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]);
    const paces = [0.49, 0.45, 0.4, 0.35, 0.3, 0.26].map((share) => lookEveryMs(at(share)));
    expect(paces).toEqual(paces.toSorted((a, b) => a - b));
    expect([isCoarser(at(0.5)), isCoarser(at(0.49))]).toEqual([false, true]);
  });

  test('spends what flows in when the bucket is halfway between', () => {
    expect(DAY_MS / lookEveryMs(at(0.375))).toBeCloseTo(bucket.perDay, 6);
  });
});

test('catch-ups may spend a part of what flows in, also where looks may spend nothing', () => {
  expect([catchUpCreditsPerMs(at(0.5)), catchUpCreditsPerMs(at(0))]).toEqual([Number.POSITIVE_INFINITY, 0]);
  expect((catchUpCreditsPerMs(at(0.25)) * DAY_MS) / bucket.perDay).toBeCloseTo(1 / 6, 6);
});

test('a flood is more than looks can follow, and only while credits are scarce', () => {
  // 60,000 credits a day flow in, five sixths of them for looks: 0.193 looks a second and module, 19.3 records.
  const flood = (perSecond: number, share: number) => isFlood(at(share), { recordsPerMs: perSecond / 1_000, recordsPerLook: 100, modules: 3 });
  expect([flood(19, 0.4), flood(20, 0.4), flood(1_000, 0.5)]).toEqual([false, true, false]);
});

test('the day\'s credits follow from the edition, its users and its cap', () => {
  const credits = (edition: string, users: number) => creditsOfEdition({ edition, users });
  expect([credits('free', 3), credits('standard', 10), credits('standard', 1_000), credits('Enterprise', 12), credits('professional', 100_000), credits('something new', 12)]).toEqual([5_000, 52_500, 100_000, 62_000, 3_000_000, 50_000]);
});
