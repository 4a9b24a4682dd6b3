import type { BulkRunRow } from '@lockstep/postgres';
import { describe, expect, test } from 'vitest';

import { pollEveryMs } from './move-pages.ts';
import { isRefreshDue } from './refresh.ts';
import { isRenewalDue, renewAfterMs } from './renew-channel.ts';
import { isInitialRunDue } from './start-initial-run.ts';

const at = (text: string): Date => new Date(`2026-05-${text}Z`);
const crm = (text: string) => ({ earliestMs: at(text).getTime() });
const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;
const channel = { channelId: '7', enabledAt: at('04T10:00:00'), renewAt: at('05T09:55:00'), grantedUntil: at('11T10:00:00') };

describe('the renewal of a channel', () => {
  test('comes after 23 h 55 min where a week was granted', () => {
    expect(renewAfterMs(7 * DAY)).toBe(DAY - 5 * MINUTE);
  });

  test('comes after half of what was granted where that is sooner', () => {
    expect(renewAfterMs(60 * MINUTE)).toBe(30 * MINUTE);
    expect(renewAfterMs(DAY)).toBe(DAY / 2);
  });

  test('is due without a channel, with one of another secret, and from its time on', () => {
    expect(isRenewalDue(undefined, '7', at('05T09:00:00'), crm('05T09:00:00'))).toBe(true);
    expect(isRenewalDue(channel, '8', at('05T09:00:00'), crm('05T09:00:00'))).toBe(true);
    expect(isRenewalDue(channel, '7', at('05T09:54:59'), crm('05T09:54:59'))).toBe(false);
    expect(isRenewalDue(channel, '7', at('05T09:55:00'), crm('05T09:55:00'))).toBe(true);
  });

  test('is due by either clock: the CRM has ended it, or the database\'s was set back', () => {
    expect(isRenewalDue(channel, '7', at('05T09:00:00'), crm('11T10:00:00'))).toBe(true);
    expect(isRenewalDue(channel, '7', at('04T09:30:00'), crm('04T10:30:00'))).toBe(true);
  });

  test('is never without a pause, however clocks contradict each other', () => {
    expect(renewAfterMs(-60 * MINUTE)).toBe(5 * MINUTE);
    expect(isRenewalDue(channel, '7', at('04T10:04:59'), crm('11T10:00:00'))).toBe(false);
  });
});

describe('the first load', () => {
  const failed = (finishedAt: Date) => ({ kind: 'initial', state: 'failed', finishedAt }) as const;

  test('begins where there was none, and never twice', () => {
    expect(isInitialRunDue([], at('04T10:00:00'))).toBe(true);
    expect(isInitialRunDue([{ kind: 'initial', state: 'running', finishedAt: null }], at('04T10:00:00'))).toBe(false);
    expect(isInitialRunDue([{ kind: 'initial', state: 'complete', finishedAt: at('04T09:00:00') }], at('04T10:00:00'))).toBe(false);
    expect(isInitialRunDue([{ kind: 'refresh', state: 'complete', finishedAt: at('04T09:00:00') }], at('04T10:00:00'))).toBe(true);
  });

  test('begins again ten minutes after a failure, and twice as long after each further one', () => {
    expect(isInitialRunDue([failed(at('04T10:00:00'))], at('04T10:09:59'))).toBe(false);
    expect(isInitialRunDue([failed(at('04T10:00:00'))], at('04T10:10:00'))).toBe(true);
    expect(isInitialRunDue([failed(at('04T09:00:00')), failed(at('04T10:00:00'))], at('04T10:19:59'))).toBe(false);
    expect(isInitialRunDue([failed(at('04T09:00:00')), failed(at('04T10:00:00'))], at('04T10:20:00'))).toBe(true);
  });
});

describe('a refresh', () => {
  const run = (kind: string, state: string, finishedAt: Date | null) => ({ kind, state, finishedAt }) as BulkRunRow;
  const week = 7 * 86_400_000;

  test('is due a week after the last full reading, and never before the first load', () => {
    expect(isRefreshDue([], at('20T10:00:00'), week)).toBe(false);
    expect(isRefreshDue([run('initial', 'failed', at('04T10:00:00'))], at('20T10:00:00'), week)).toBe(false);
    expect(isRefreshDue([run('initial', 'complete', at('04T10:00:00'))], at('11T09:59:59'), week)).toBe(false);
    expect(isRefreshDue([run('initial', 'complete', at('04T10:00:00'))], at('11T10:00:00'), week)).toBe(true);
    expect(isRefreshDue([run('initial', 'complete', at('04T10:00:00')), run('refresh', 'complete', at('10T10:00:00'))], at('12T10:00:00'), week)).toBe(false);
  });

  test('waits for the run under way, and six hours after a failure', () => {
    const loaded = run('initial', 'complete', at('04T10:00:00'));
    expect(isRefreshDue([loaded, run('catch-up', 'running', null)], at('12T10:00:00'), week)).toBe(false);
    expect(isRefreshDue([loaded, run('refresh', 'failed', at('12T05:00:00'))], at('12T10:00:00'), week)).toBe(false);
    expect(isRefreshDue([loaded, run('refresh', 'failed', at('12T04:00:00'))], at('12T10:00:00'), week)).toBe(true);
  });
});

describe('a job', () => {
  test('is asked about more and more seldom', () => {
    expect([0, 10_000, 100_000, 3_000_000, 3_600_000, 10_000_000].map(pollEveryMs)).toEqual([500, 1_000, 10_000, 30_000, 360_000, 600_000]);
  });
});
