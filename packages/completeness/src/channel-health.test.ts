import { describe, expect, test } from 'vitest';

import { channelFault, type JudgedReading, deliveryHealthOf, isListDue, type ListedChannel } from './channel-health.ts';

const at = (text: string): number => Date.parse(`2026-05-04T${text}Z`);

describe('a channel that is read back', () => {
  const held = { channelId: '7', notifyUrl: 'https://a.example/n', token: 't', events: ['Leads.create', 'Leads.edit'], endsMs: at('20:00:00') };
  const listed: ListedChannel = held;
  const faultOf = (more: Partial<ListedChannel>) => channelFault(held, [{ ...listed, channelId: '8' }, { ...listed, ...more }], at('10:00:00'));

  test('is right when it is listed as it was granted, in whatever order and zone, or when the list shows less', () => {
    expect(faultOf({})).toBeNull();
    expect(faultOf({ events: ['Leads.edit', 'Leads.delete', 'Leads.create'], endsMs: at('19:59:00') })).toBeNull();
    expect(faultOf({ notifyUrl: null, token: null, events: null })).toBeNull();
    expect(faultOf({ endsMs: at('23:00:00') })).toBeNull();
  });

  test.each([
    ['it is not listed', { channelId: '9' }],
    ['it has ended', { endsMs: at('10:00:00') }],
    ['it notifies another URL', { notifyUrl: 'https://b.example/n' }],
    ['it carries another token', { token: 'u' }],
    ['it notifies of less', { events: ['Leads.create'] }],
  ])('is lost when %s', (_, more) => {
    expect(faultOf(more)?.kind).toBe('lost');
  });

  test('is shortened when it ends more than a minute before its granted end', () => {
    expect(faultOf({ endsMs: at('19:58:59') })).toEqual({ kind: 'shortened', details: 'the channel ends at 2026-05-04T19:58:59.000Z, and was granted until 2026-05-04T20:00:00.000Z' });
  });
});

describe('the list', () => {
  const enabled = { enabledMs: at('10:00:00'), wrongInRow: 0 };

  test('is read a minute after a channel was enabled, and an hour after it was read', () => {
    expect(isListDue(enabled, null, at('10:00:59'))).toBe(false);
    expect(isListDue(enabled, null, at('10:01:00'))).toBe(true);
    expect(isListDue(enabled, at('10:00:30'), at('10:01:00'))).toBe(true);
    expect(isListDue(enabled, at('10:01:00'), at('11:00:59'))).toBe(false);
    expect(isListDue(enabled, at('10:01:00'), at('11:01:00'))).toBe(true);
  });

  test('is read later and later, up to an hour, while a channel comes out wrong each time', () => {
    const due = (wrongInRow: number, text: string) => isListDue({ ...enabled, wrongInRow }, at('09:59:00'), at(text));
    expect([due(1, '10:01:59'), due(1, '10:02:00'), due(4, '10:15:59'), due(4, '10:16:00'), due(40, '10:59:59'), due(40, '11:00:00')]).toEqual([false, true, false, true, false, true]);
  });
});

describe('what catch-ups say about a channel', () => {
  const minutes = (from: number, to: number): number[] => Array.from({ length: (to - from) / 2 + 1 }, (_, step) => from + 2 * step);
  /** Catch-ups every two minutes from 10:00 on: each over four minutes, so that a change shows in two of them. */
  const reading = (minute: number, more: Partial<JudgedReading> = {}): JudgedReading => {
    const startedMs = at('10:00:00') + minute * 60_000;
    return { wantedMs: startedMs, startedMs, fromMs: startedMs - 240_000, rows: 0, seen: 0, unhinted: 0, ...more };
  };
  const health = (readings: JudgedReading[], minute: number, enabledMinute = -600) =>
    deliveryHealthOf(readings, { enabledMs: at('10:00:00') + enabledMinute * 60_000, nowMs: at('10:00:00') + minute * 60_000, pauseMs: 600_000 });
  // Of four changes each two minutes, one is too young for its notification to be missed.
  const missed = { rows: 8, seen: 4, unhinted: 3 };

  test('is silent when, over and over, no notification came', () => {
    expect(health(minutes(0, 10).map((minute) => reading(minute, missed)), 10)).toMatchObject({ state: 'silent', hinted: 0, unhinted: 15 });
  });

  test('is silent however far back a second pass goes', () => {
    const far = reading(6, { ...missed, fromMs: at('08:36:00'), rows: 360 });
    expect(health([reading(0), reading(2, missed), reading(4, missed), far, reading(8, missed)], 8)).toMatchObject({ state: 'silent', unhinted: 12 });
  });

  test('is healthy while most changes were notified, though some were not', () => {
    const some = { rows: 20, seen: 3, unhinted: 3 };
    expect(health(minutes(0, 10).map((minute) => reading(minute, some)), 10)).toMatchObject({ state: 'healthy', hinted: 35, unhinted: 15 });
  });

  test('is unknown after one mass edit without a notification, and healthy twenty minutes later', () => {
    const readings = [reading(0), reading(2, { rows: 300, seen: 300, unhinted: 300 }), reading(4, { rows: 300 }), ...minutes(6, 40).map((minute) => reading(minute))];
    expect(health(readings.slice(0, 3), 4).state).toBe('unknown');
    expect(health(readings.slice(0, 11), 20).state).toBe('unknown');
    expect(health(readings.slice(0, 13), 24).state).toBe('healthy');
  });

  test('is unknown after an outage of our own', () => {
    expect(health([reading(0), reading(30, missed), reading(60, missed)], 60).state).toBe('unknown');
  });

  test('is judged from the beginning once it is enabled again, and by the last hour only', () => {
    const readings = minutes(0, 10).map((minute) => reading(minute, missed));
    expect(health(readings, 11, 10.5)).toEqual({ state: 'unknown', hinted: 0, unhinted: 0 });
    expect(health([...readings, ...minutes(12, 80).map((minute) => reading(minute))], 80)).toEqual({ state: 'healthy', hinted: 0, unhinted: 0 });
  });
});
