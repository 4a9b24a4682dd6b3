import { expect, test } from 'vitest';

import { Unapplied } from './unapplied.ts';

test('the oldest message that is not applied is of the first fetch that is not applied to its end', () => {
  const unapplied = new Unapplied();
  expect(unapplied.oldestAtMs(0)).toBe(null);
  unapplied.note({ end: 3, storedAtMs: 10 });
  unapplied.note({ end: 5, storedAtMs: 20 });
  expect([unapplied.oldestAtMs(0), unapplied.oldestAtMs(2), unapplied.oldestAtMs(3), unapplied.oldestAtMs(5)]).toEqual([10, 10, 20, null]);
});

test('what is fetched again replaces what was fetched before', () => {
  const unapplied = new Unapplied();
  unapplied.note({ end: 3, storedAtMs: 10 });
  unapplied.note({ end: 5, storedAtMs: 20 });
  unapplied.note({ end: 4, storedAtMs: 12 });
  expect([unapplied.oldestAtMs(3), unapplied.oldestAtMs(4)]).toEqual([12, null]);
});
