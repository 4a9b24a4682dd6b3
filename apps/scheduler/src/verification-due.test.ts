import { describe, expect, test } from 'vitest';

import { isVerificationDue, type VerificationState } from './verification-due.ts';

const HOUR_MS = 3_600_000;
const now = new Date('2026-05-04T12:00:00Z');
const ago = (hours: number): Date => new Date(now.getTime() - hours * HOUR_MS);
const loaded = (hours: number) => ({ kind: 'initial', state: 'complete', finishedAt: ago(hours) }) as const;
const due = (state: Partial<VerificationState>): boolean => isVerificationDue({ runs: [loaded(100)], last: null, failedAt: null, now, everyMs: 168 * HOUR_MS, ...state });

describe('a table is compared with its log', () => {
  test('ten minutes after its first load', () => {
    expect([due({ runs: [loaded(0.1)] }), due({ runs: [loaded(0.17)] })]).toEqual([false, true]);
  });

  test('once in the given time', () => {
    const verified = (hours: number) => due({ last: { verifiedAt: ago(hours), differences: 0 } });
    expect([verified(167.9), verified(168)]).toEqual([false, true]);
  });

  test('an hour after something differed, or the attempt failed', () => {
    const differed = (hours: number) => due({ last: { verifiedAt: ago(hours), differences: 3 } });
    const failed = (hours: number) => due({ failedAt: ago(hours) });
    expect([differed(0.9), differed(1), failed(0.9), failed(1)]).toEqual([false, true, false, true]);
  });

  test('not before its first load is complete, during a bulk read, or where that was switched off', () => {
    expect([
      due({ runs: [] }),
      due({ runs: [{ kind: 'initial', state: 'failed', finishedAt: ago(100) }] }),
      due({ runs: [loaded(100), { kind: 'refresh', state: 'running', finishedAt: null }] }),
      due({ everyMs: 0 }),
    ]).toEqual([false, false, false, false]);
  });

  test('as often as is wanted, where that is more often than all of these', () => {
    const everyMs = 60_000;
    expect([due({ everyMs, runs: [loaded(0.02)] }), due({ everyMs, failedAt: ago(0.02) }), due({ everyMs, last: { verifiedAt: ago(0.02), differences: 1 } })]).toEqual([true, true, true]);
  });
});
