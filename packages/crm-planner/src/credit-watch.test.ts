import { defaultCatchUpRules } from '@lockstep/completeness';
import { deals, leads } from '@lockstep/modules';
import type { CreditsOfDay } from '@lockstep/postgres';
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

beforeEach(() => {
  [now, reads, open] = [new Date('2026-05-04T10:00:00Z'), 0, new Map()];
  spent(0);
});

function spent(other: number, catchUps = 0, remaining: number | null = null): void {
  day = { credits: { look: 0, 'catch-up': catchUps, 'bulk-read': 0, other }, remaining };
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
  return new CreditWatch({ credits, creditRules: { perDay, reserve: 0.25 }, catchUpRules: defaultCatchUpRules, time: elapsedWith(clock) }, reporter);
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

  test('follow the credits, read every ten seconds for all modules together', async () => {
    const watch = watchOf(5_000);
    expect(await next(watch)).toBe(2.304);
    expect(await next(watch)).toBe(2.304);
    spent(2_000);
    expect(await next(watch)).toBeCloseTo(4.937, 3);
    expect(reads).toBe(3);
  });

  test('have half an hour below the reserve, which is an incident until there is more again', async () => {
    const watch = watchOf(5_000);
    spent(0, 0, 1_000);
    expect(await next(watch)).toBe(30);
    expect(open.get('credits-low')).toBe('1000 of the day\'s 5000 credits are left, 250 less than the reserve; catch-ups are 30 minutes apart');
    spent(100);
    expect(await next(watch)).toBeLessThan(3);
    expect(open.size).toBe(0);
  });
});
