import { describe, expect, test } from 'vitest';

import { CrmClock } from './crm-clock.ts';

const at = (text: string): number => Date.parse(`2026-05-04T${text}Z`);
const header = (text: string): string => new Date(at(text)).toUTCString();

describe('CRM time', () => {
  test('without any Date it is ours, begun a minute early', () => {
    expect(new CrmClock().between(at('10:00:00'), at('10:00:01'))).toEqual({ lowerMs: at('09:59:00'), upperMs: at('10:00:01') });
  });

  test('one reply bounds it to the second', () => {
    const clock = new CrmClock();
    clock.learn(at('10:00:05.100'), at('10:00:05.200'), header('11:00:05'));
    // The CRM is an hour ahead, by what one Date says somewhere in a second.
    expect(clock.between(at('10:00:05.100'), at('10:00:05.200'))).toEqual({ lowerMs: at('11:00:04.900'), upperMs: at('11:00:06.100') });
  });

  test('many replies narrow it, so that two looks within one second are in order', () => {
    const clock = new CrmClock();
    const offsetMs = 3_600_000 + 137;
    for (let sent = at('10:00:00'); sent < at('10:00:20'); sent += 370) {
      clock.learn(sent, sent + 10, new Date(Math.floor((sent + 5 + offsetMs) / 1000) * 1000).toUTCString());
    }
    const first = clock.between(at('10:00:30.200'), at('10:00:30.210'));
    const second = clock.between(at('10:00:30.600'), at('10:00:30.610'));
    expect(first.lowerMs).toBeLessThanOrEqual(at('10:00:30.200') + offsetMs);
    expect(first.upperMs).toBeGreaterThanOrEqual(at('10:00:30.210') + offsetMs);
    expect(first.upperMs).toBeLessThan(second.lowerMs);
  });

  test('when a clock was set the latest reply alone counts', () => {
    const clock = new CrmClock();
    clock.learn(at('10:00:00'), at('10:00:00'), header('10:00:00'));
    clock.learn(at('10:00:10'), at('10:00:10'), header('12:00:10'));
    expect(clock.between(at('10:00:10'), at('10:00:10')).lowerMs).toBe(at('12:00:10'));
  });

  test('a Date that is none is passed over', () => {
    const clock = new CrmClock();
    clock.learn(0, 1, 'yesterday');
    clock.learn(0, 1, null);
    expect(clock.between(60_000, 60_001).lowerMs).toBe(0);
  });
});
