import { dayBucket, defaultCatchUpRules, type FilledBucket } from '@lockstep/completeness';
import { deals, leads } from '@lockstep/modules';
import type { CatchUpRow, CreditsOfDay } from '@lockstep/postgres';
import { createLogger, createMetrics } from '@lockstep/telemetry';
import { beforeEach, describe, expect, test } from 'vitest';

import { CreditWatch } from './credit-watch.ts';
import { createPlannerMetrics } from './metrics.ts';
import { Reporter } from './reporter.ts';
import { elapsedWith } from './testing.ts';

let now: Date;
let day: CreditsOfDay;
let reads: number;
let open: Map<string, string>;
let bucket: FilledBucket | null;
let rows: number;

beforeEach(() => {
  [now, reads, open, bucket, rows] = [new Date('2026-05-04T10:00:00Z'), 0, new Map(), null, 0];
  spent(0);
});

function spent(other: number, remaining: number | null = null): void {
  day = { credits: { look: 0, 'catch-up': 0, 'bulk-read': 0, retry: 0, other }, remaining };
}

/** The bucket of an organisation with 5,000 credits, filled to a share. */
function filled(share: number): void {
  const ofDay = dayBucket({ perDay: 5_000, reserve: 0.25 });
  bucket = { ...ofDay, level: ofDay.capacity * share };
}

function watchOf(perDay: number | null): CreditWatch {
  const incidents = {
    open: async (module: string, kind: string, details: string) => {
      const isNew = !open.has(module + kind);
      open.set(module + kind, details);
      return isNew;
    },
    close: async (module: string, kind: string) => open.delete(module + kind),
  };
  const clock = () => now;
  const credits = {
    ofDay: async () => {
      reads += 1;
      return day;
    },
  };
  const reporter = new Reporter({ incidents, time: elapsedWith(clock), log: createLogger({ app: 'test', level: 'silent', isPretty: false }), metrics: createPlannerMetrics(createMetrics({ app: 'test' })) });
  const budget = { state: () => bucket, canPay: () => true };
  // A window of ten minutes.
  const latest = { from: new Date(0), startedAt: new Date(600_000), result: { rows, seen: 0, unhinted: 0, deleted: 0 } } as unknown as CatchUpRow;
  return new CreditWatch({ credits, creditRules: { perDay, reserve: 0.25 }, budget, catchUps: { latest: async () => ({ any: latest }) }, catchUpRules: defaultCatchUpRules, time: elapsedWith(clock) }, reporter);
}

/** Ten seconds later. */
async function next(watch: CreditWatch): Promise<number> {
  now = new Date(now.getTime() + 10_000);
  for (const module of [leads, deals]) await watch.update(module);
  return watch.rules.intervalMs / 60_000;
}

describe('the rules of catch-ups', () => {
  test('have the wanted interval where the credits are not known, and nothing is read', async () => {
    const watch = watchOf(null);
    spent(1_000_000);
    expect(await next(watch)).toBe(2);
    expect(reads).toBe(0);
    expect({ ...watch.rules }).toEqual(defaultCatchUpRules);
  });

  test('are the wanted ones while the bucket is half full, and read every ten seconds for all modules together', async () => {
    const watch = watchOf(5_000);
    filled(0.5);
    expect(await next(watch)).toBe(2);
    expect(await next(watch)).toBe(2);
    expect(reads).toBe(2);
    expect({ ...watch.rules }).toEqual(defaultCatchUpRules);
  });

  test('become rarer as it empties, and more so where much changes', async () => {
    const watch = watchOf(5_000);
    const intervals: number[] = [];
    for (const share of [0.45, 0.35, 0.25, 0.15]) {
      filled(share);
      intervals.push(await next(watch));
    }
    expect(intervals).toEqual(intervals.toSorted((a, b) => a - b));
    // 500 credits a day pay for a round of two modules, at three credits each, in 17 minutes.
    filled(0.25);
    expect(await next(watch)).toBeGreaterThanOrEqual((1_440 * 6) / 500);
    rows = 20_000;
    expect(await next(watchOf(5_000))).toBeGreaterThan(60);
  });

  test('and looks that are coarser are an incident, until there is plenty again', async () => {
    const watch = watchOf(5_000);
    filled(0.4);
    await next(watch);
    expect(open.get('credits-scarce')).toMatch(/^300 of 750 credits may be spent at once: looks at a module are 20 s apart, catch-ups are [\d.]+ minutes apart$/);
    filled(0.6);
    await next(watch);
    expect(open.has('credits-scarce')).toBe(true);
    filled(0.8);
    await next(watch);
    expect(open.size).toBe(0);
    filled(0.6);
    await next(watch);
    expect(open.size).toBe(0);
  });
});

test('a reserve that others have touched is an incident until there is more again', async () => {
  const watch = watchOf(5_000);
  spent(0, 1_000);
  await next(watch);
  expect(open.get('credits-low')).toBe('1000 of the day\'s 5000 credits are left, 250 less than the reserve; catch-ups are 2 minutes apart');
  spent(100);
  await next(watch);
  expect(open.size).toBe(0);
});
