import { describe, expect, test } from 'vitest';

import { type CountCheck, isCountWrong } from './count-check.ts';

const check = (crm: number, register: number, underWay = 0): CountCheck => ({ crm, register, underWay });

describe('a count that differs', () => {
  test('is believed when two checks in a row say so', () => {
    expect(isCountWrong(null, check(10, 9), false)).toBe(false);
    expect(isCountWrong(check(9, 9), check(10, 9), false)).toBe(false);
    expect(isCountWrong(check(10, 9), check(10, 9), false)).toBe(true);
    expect(isCountWrong(check(8, 9), check(7, 9), false)).toBe(true);
    expect(isCountWrong(check(10, 9), check(9, 9), false)).toBe(false);
  });

  test('is not believed when it differs now to the one side and now to the other', () => {
    expect(isCountWrong(check(10, 9), check(8, 9), false)).toBe(false);
  });

  test('is explained by what is under way', () => {
    expect(isCountWrong(check(12, 9, 3), check(12, 9, 3), false)).toBe(false);
    expect(isCountWrong(check(12, 9, 2), check(13, 9, 3), false)).toBe(true);
  });

  test('may be smaller where records can be converted, and not greater', () => {
    expect(isCountWrong(check(8, 9), check(8, 9), true)).toBe(false);
    expect(isCountWrong(check(10, 9), check(10, 9), true)).toBe(true);
  });
});
