import { describe, expect, test } from 'vitest';

import { advanced, WATERMARK_MARGIN_MS } from './watermark.ts';

const at = (text: string): number => Date.parse(`2026-05-04T${text}Z`);
const reading = (fromMs: number, startedMs: number, isWithDeletions = true) => ({ fromMs, startedMs, nowMs: startedMs, isWithDeletions });

describe('the watermark', () => {
  test('moves to two minutes before a reading that began at or below it', () => {
    expect(advanced(at('09:00:00'), reading(at('09:00:00'), at('10:05:00')))).toBe(at('10:03:00'));
    expect(advanced(at('09:00:00'), reading(at('08:30:00'), at('10:05:00')))).toBe(at('10:03:00'));
  });

  test('stays where a reading began above it: there is a hole in between', () => {
    expect(advanced(at('09:00:00'), reading(at('09:00:01'), at('10:05:00')))).toBe(at('09:00:00'));
  });

  test('stays where the deleted list was not read', () => {
    expect(advanced(at('09:00:00'), reading(at('09:00:00'), at('10:05:00'), false))).toBe(at('09:00:00'));
  });

  test('never goes back', () => {
    expect(advanced(at('09:00:00'), reading(at('08:00:00'), at('09:01:00')))).toBe(at('09:00:00'));
  });

  test('has whole seconds, cut down', () => {
    expect(advanced(at('09:00:00'), reading(at('09:00:00'), at('10:05:00') + 999))).toBe(at('10:03:00'));
  });

  test('begins with a reading of everything, and with nothing less', () => {
    expect(advanced(null, reading(Number.NEGATIVE_INFINITY, at('10:05:00')))).toBe(at('10:05:00') - WATERMARK_MARGIN_MS);
    expect(advanced(null, reading(at('09:00:00'), at('10:05:00')))).toBeNull();
  });

  test('never moves beyond what it can be now, whatever the reading says', () => {
    expect(advanced(at('09:00:00'), { ...reading(at('09:00:00'), Date.parse('2099-01-01T00:00:00Z')), nowMs: at('10:05:00') })).toBe(at('10:03:00'));
    expect(advanced(at('09:00:00'), { ...reading(at('09:00:00'), at('11:05:00')), nowMs: at('10:05:00') })).toBe(at('10:03:00'));
  });
});
