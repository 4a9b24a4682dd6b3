import { describe, expect, test } from 'vitest';

import { isLate } from './late.ts';

describe('catch-ups are late', () => {
  test.each([
    ['ten minutes after the last complete one, however often they are due', 1_000, 600],
    ['five intervals after it, where that is longer', 300_000, 1_500],
  ])('%s', (_, intervalMs, seconds) => {
    expect(isLate(0, seconds * 1_000, { intervalMs })).toBe(false);
    expect(isLate(0, seconds * 1_000 + 1, { intervalMs })).toBe(true);
  });

  test('never before the first load', () => {
    expect(isLate(null, Number.MAX_SAFE_INTEGER, { intervalMs: 1_000 })).toBe(false);
  });
});
