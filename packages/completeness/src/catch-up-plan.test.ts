import { describe, expect, test } from 'vitest';

import { dueCatchUp } from './catch-up-plan.ts';

const at = (text: string): number => Date.parse(`2026-05-04T${text}Z`);
/** Both clocks agree. */
const both = (text: string) => ({ nowMs: at(text), crmMs: at(text) });
const rules = { intervalMs: 120_000, secondPassEveryMs: 3_600_000, secondPassOverMs: 5_400_000, restoreScanEveryMs: 86_400_000, marginMs: 120_000 };
const history = (lastStarted: string, lastSecondPass: string) => ({ lastStartedMs: at(lastStarted), lastSecondPassMs: at(lastSecondPass), lastRestoreScanMs: at('00:00:00') });

describe('a catch-up', () => {
  test('is due two minutes after the last one began, from the watermark on', () => {
    expect(dueCatchUp(both('10:01:59'), at('09:58:00'), history('10:00:00', '09:30:00'), rules)).toBeNull();
    expect(dueCatchUp(both('10:02:00'), at('09:58:00'), history('10:00:00', '09:30:00'), rules)).toEqual({ fromMs: at('09:58:00'), deletedFromMs: at('09:57:00'), isSecondPass: false, isRestoreScan: false, scanFromMs: null });
  });

  test('begins at the watermark however long nothing ran', () => {
    expect(dueCatchUp(both('23:00:00'), at('03:00:00'), history('03:02:00', '22:59:00'), rules)?.fromMs).toBe(at('03:00:00'));
  });

  test('goes over the last ninety minutes once an hour', () => {
    expect(dueCatchUp(both('10:02:00'), at('09:58:00'), history('10:00:00', '09:01:00'), rules)).toEqual({ fromMs: at('08:32:00'), deletedFromMs: at('08:31:00'), isSecondPass: true, isRestoreScan: false, scanFromMs: null });
  });

  test('never begins above the watermark, not even as a second pass', () => {
    expect(dueCatchUp(both('10:02:00'), at('05:00:00'), history('10:00:00', '09:01:00'), rules)).toMatchObject({ fromMs: at('05:00:00'), isSecondPass: true });
  });

  test('is due at once when there was none', () => {
    expect(dueCatchUp(both('10:00:00'), at('09:58:00'), { lastStartedMs: null, lastSecondPassMs: null, lastRestoreScanMs: null }, rules)).toMatchObject({ isSecondPass: true, isRestoreScan: true });
  });

  test('reads the deleted list over sixty days once a day: what has left it was restored', () => {
    const yesterday = { lastStartedMs: at('10:00:00'), lastSecondPassMs: at('09:30:00'), lastRestoreScanMs: at('10:01:00') - 86_400_000 };
    expect(dueCatchUp(both('10:02:00'), at('09:58:00'), yesterday, rules)).toEqual({ fromMs: at('09:58:00'), deletedFromMs: at('09:57:00'), isSecondPass: false, isRestoreScan: true, scanFromMs: at('10:01:00') - 60 * 86_400_000 });
  });

  test('scans again after three hours where the scan came to nothing, and does not wait for it with anything else', () => {
    const yesterday = { lastStartedMs: at('10:00:00'), lastSecondPassMs: at('09:30:00'), lastRestoreScanMs: at('10:01:00') - 86_400_000 };
    expect(dueCatchUp(both('10:02:00'), at('09:58:00'), { ...yesterday, lastScanTriedMs: at('07:02:01') }, rules)).toMatchObject({ fromMs: at('09:58:00'), isRestoreScan: false, scanFromMs: null });
    expect(dueCatchUp(both('10:02:00'), at('09:58:00'), { ...yesterday, lastScanTriedMs: at('07:02:00') }, rules)).toMatchObject({ isRestoreScan: true });
  });

  test('that failed is tried again after ten seconds, and then less and less often, up to two intervals', () => {
    const isDueAfter = (seconds: number, failures: number, intervalMs = 120_000): boolean => dueCatchUp({ nowMs: at('10:00:00') + seconds * 1_000, crmMs: at('10:02:00') }, at('09:58:00'), { ...history('10:00:00', '09:30:00'), failures }, { ...rules, intervalMs }) !== null;
    for (const [failures, seconds] of [[0, 120], [1, 10], [2, 20], [5, 160], [20, 240]] as const) expect([isDueAfter(seconds - 1, failures), isDueAfter(seconds, failures)]).toEqual([false, true]);
    expect([isDueAfter(3_599, 20, 1_800_000), isDueAfter(3_600, 20, 1_800_000), isDueAfter(1, 1, 1_000)]).toEqual([false, true, true]);
  });

  test('depends on one clock for when, and on the CRM\'s for what', () => {
    const anHourAhead = { nowMs: at('11:02:00'), crmMs: at('10:02:00') };
    expect(dueCatchUp(anHourAhead, at('09:58:00'), history('11:00:00', '10:30:00'), rules)).toMatchObject({ fromMs: at('09:58:00'), isSecondPass: false });
    expect(dueCatchUp(anHourAhead, at('09:58:00'), history('11:00:00', '10:01:00'), rules)).toMatchObject({ fromMs: at('08:32:00'), isSecondPass: true });
  });

  test('is due at once when its clock was set back, and two minutes later again: it neither stops for an hour nor runs without a pause', () => {
    expect(dueCatchUp(both('09:02:00'), at('08:58:00'), history('10:00:00', '09:30:00'), rules)).toMatchObject({ isSecondPass: true });
    expect(dueCatchUp(both('09:02:01'), at('08:58:00'), history('09:02:00', '09:02:00'), rules)).toBeNull();
    expect(dueCatchUp(both('09:04:00'), at('08:58:00'), history('09:02:00', '09:02:00'), rules)).toMatchObject({ isSecondPass: false });
  });
});
