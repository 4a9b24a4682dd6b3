import { defaultCatchUpRules } from '@lockstep/completeness';
import type { BulkRunRow } from '@lockstep/postgres';
import { leads } from '@lockstep/modules';
import { createLogger, createMetrics } from '@lockstep/telemetry';
import { beforeEach, describe, expect, test } from 'vitest';

import { Gaps } from './gaps.ts';
import { createPlannerMetrics } from './metrics.ts';
import { Reporter } from './reporter.ts';
import { crmAt, elapsedWith } from './testing.ts';

const at = (text: string): Date => new Date(`2026-05-04T${text}Z`);

let now: Date;
let watermark: Date | null;
let runs: BulkRunRow[];
let held: { module: string; heldAt: Date; deletions: number; allowed: number }[];
let open: Map<string, string>;
let writes: number;
let gaps: Gaps;

beforeEach(() => {
  [now, watermark, runs, held, open, writes] = [at('10:00:00'), at('09:57:00'), [], [], new Map(), 0];
  const incidents = {
    open: (_: string, kind: string, details: string) => {
      writes += 1;
      const isNew = !open.has(kind);
      open.set(kind, details);
      return Promise.resolve(isNew);
    },
    close: (_: string, kind: string) => {
      writes += 1;
      return Promise.resolve(open.delete(kind));
    },
  };
  const clock = () => now;
  const reporter = new Reporter({ incidents, time: elapsedWith(clock), log: createLogger({ app: 'test', level: 'silent', isPretty: false }), metrics: createPlannerMetrics(createMetrics({ app: 'test' })) });
  gaps = new Gaps({ runs: { all: () => Promise.resolve(runs) }, watermarks: { current: () => Promise.resolve(watermark) }, breaker: { held: () => Promise.resolve(held) }, catchUpRules: defaultCatchUpRules, crm: crmAt(clock), time: elapsedWith(clock), now: clock }, reporter);
});

async function report(text: string): Promise<string[]> {
  now = at(text);
  await gaps.report(leads);
  return [...open.keys()];
}

describe('catch-up-late', () => {
  test('is open from ten minutes after the last catch-up until the next one, which claims up to two minutes before its start', async () => {
    expect(await report('10:09:00')).toEqual([]);
    expect(await report('10:09:10')).toEqual(['catch-up-late']);
    expect(open.get('catch-up-late')).toBe('no catch-up that began after 2026-05-04T09:59:00.000Z has been completed');
    watermark = at('10:18:00');
    expect(await report('10:20:00')).toEqual([]);
  });

  test('counts from the end of the first load, while nothing is claimed', async () => {
    watermark = null;
    expect(await report('23:00:00')).toEqual([]);
    runs = [{ module: 'Leads', kind: 'initial', state: 'complete', finishedAt: at('23:00:00') } as BulkRunRow];
    expect(await report('23:10:00')).toEqual([]);
    expect(await report('23:10:10')).toEqual(['catch-up-late']);
  });
});

describe('deletions-held', () => {
  test('is open while the breaker holds', async () => {
    held = [{ module: 'Leads', heldAt: now, deletions: 120, allowed: 100 }, { module: 'Deals', heldAt: now, deletions: 500, allowed: 100 }];
    expect(await report('10:00:00')).toEqual(['deletions-held']);
    expect(open.get('deletions-held')).toBe('120 deletions within an hour, and 100 are believed; see "lockstep release"');
    held = held.slice(1);
    expect(await report('10:00:10')).toEqual([]);
  });
});

describe('rounds', () => {
  test('look every five seconds, and what they find again is written once a minute', async () => {
    held = [{ module: 'Leads', heldAt: now, deletions: 120, allowed: 100 }];
    for (let second = 0; second < 60; second += 1) await report(`10:00:${String(second).padStart(2, '0')}`);
    // Opened once, and once found that no catch-up is late.
    expect(writes).toBe(2);
    await report('10:01:00');
    expect(writes).toBe(3);
  });
});
