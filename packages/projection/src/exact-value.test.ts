import { describe, expect, test } from 'vitest';

import { type CellRule, isExact } from './exact-value.ts';

const holds = (form: CellRule['form'], text: string, limit = Number.POSITIVE_INFINITY): boolean => {
  const bytes = Buffer.from(`\t${text}\n`);
  return isExact({ column: 'c', form, limit }, bytes, 1, bytes.length - 1);
};

describe('a column holds unchanged', () => {
  test.each<[CellRule['form'], number, readonly string[], readonly string[]]>([
    ['decimal', 2, ['0', '-1', '10.12', '10.1', '123456'], ['10.125', '-0', '007', '1e3', 'NaN', 'Infinity', '0x1F', '1_000', ' 1', '1 ', '+1', '.5', '5.', '1.2.3', '-', '']],
    ['decimal', -2, ['0', '100', '-12300'], ['10', '12350', '100.5']],
    ['integer', 0, ['0', '-12', '9223372036854775807'], ['1.5', '01', 'x', '-']],
    ['varchar', 3, ['abc', 'ab ', 'é😀 ', 'a\\n ', 'abcdef'], ['abc ', 'ab   ', 'é😀x ']],
    ['bytes', 3, ['abc', 'ab ', 'é ', 'a\\n ', '\\\\b ', 'abcdef'], ['abc ', 'é  ', 'éé ']],
    ['char', 3, ['abc', 'a', ''], ['ab ', ' ']],
    ['date', 0, ['2026-02-28', '10000-01-01'], ['now', 'infinity', '28.02.2026', '20260228', '0044-03-15 BC', '99-01-01', '00001-01-01', '002026-01-01']],
    ['instant', 3, ['2026-03-29T01:30:00Z', '2026-03-29T01:30:00.125Z', '9999-12-31T23:59:59-08:00'], ['2026-03-29T01:30:00', 'now', '2026-03-29T23:59:60Z', '2026-03-29T24:00:00Z', '2026-03-29T01:30:00.1255Z', '002026-03-29T01:30:00Z']],
    ['utc', 6, ['2026-03-29T01:30:00Z'], ['2026-03-29T01:30:00+02:00', '002026-03-29T01:30:00Z']],
    ['boolean', 0, ['true', 'false'], ['t', 'yes', '1', 'tru', 'on']],
    ['uuid', 0, ['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'], ['A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}']],
  ])('as %s with a limit of %d', (form, limit, exact, changed) => {
    expect(exact.filter((text) => !holds(form, text, limit))).toEqual([]);
    expect(changed.filter((text) => holds(form, text, limit))).toEqual([]);
  });
});
