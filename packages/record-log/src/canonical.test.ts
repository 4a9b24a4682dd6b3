import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { canonicalCell, canonicalJson, type FieldKind } from './canonical.ts';
import { canonicalInstant, instantMs } from './canonical-instant.ts';
import { isRecordId } from './record-id.ts';

describe('the canonical form is the same from a CSV cell and from JSON', () => {
  test.each<[FieldKind, string, unknown, unknown]>([
    ['text', 'Écho "quoted"\nline', 'Écho "quoted"\nline', 'Écho "quoted"\nline'],
    ['text', '', null, null],
    ['text', '', '', null],
    ['integer', '42', 42, '42'],
    ['integer', '007', '7', '7'],
    ['integer', '9007199254740993', '9007199254740993', '9007199254740993'],
    ['decimal', '50000.00', 50000, '50000'],
    ['decimal', '0.10', 0.1, '0.1'],
    ['decimal', '-1.50', -1.5, '-1.5'],
    ['decimal', '1e21', '1E+21', '1000000000000000000000'],
    ['decimal', '0.000000125', 1.25e-7, '0.000000125'],
    ['decimal', '-0', -0, '0'],
    ['boolean', 'true', true, true],
    ['boolean', 'false', false, false],
    ['date', '2026-02-28', '2026-02-28', '2026-02-28'],
    ['datetime', '2024-07-20T00:51:23+05:30', '2024-07-19T12:21:23-07:00', '2024-07-19T19:21:23Z'],
    ['datetime', '2024-07-19T19:21:23Z', '2024-07-19T19:21:23.000Z', '2024-07-19T19:21:23Z'],
    ['lookup', '5545974000002011001', { name: 'Chapman', id: '5545974000002011001' }, '5545974000002011001'],
    ['lookup', '5545974000002011001', { id: '5545974000002011001', name: 'Chapman', email: 'c@example.com', layout: { id: '7' } }, '5545974000002011001'],
    ['lookup', '7', { id: 7, name: 'Seven' }, '7'],
    ['lookup', '', null, null],
    ['lookup', '', { id: null, name: null }, null],
    ['lookup', '', { id: '', name: '' }, null],
    ['multiselect', 'English;German', ['English', 'German'], 'English;German'],
    ['multiselect', '', [], null],
    ['multiselect', '', [''], null],
    ['tags', '', [{ name: '', id: '1' }], null],
    ['tags', 'hot,new', [{ name: 'hot', id: '1' }, { name: 'new', id: '2' }], 'hot,new'],
    ['multiselect', 'Agriculture, Food, and Natural Resources', ['Agriculture, Food, and Natural Resources'], 'Agriculture, Food, and Natural Resources'],
  ])('%s %j', (kind, cell, json, canonical) => {
    expect(canonicalCell(kind, cell)).toBe(canonical);
    expect(canonicalJson(kind, json)).toBe(canonical);
  });

  test('for every number a double can hold', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (number) => {
        const canonical = canonicalJson('decimal', number);
        expect(Number(canonical)).toBe(number === 0 ? 0 : number);
        expect(canonicalCell('decimal', String(number))).toBe(canonical);
        expect(canonicalCell('decimal', canonical as string)).toBe(canonical);
      }),
    );
  });
});

describe('an instant', () => {
  const two = (n: number): string => String(n).padStart(2, '0');
  const between = (min: number, max: number): fc.Arbitrary<number> => fc.integer({ min, max });
  const msOrNull = (text: string): number | null => {
    try {
      return instantMs(text);
    } catch {
      return null;
    }
  };
  // A little beyond what exists, on every side.
  const anyTime = fc.record({ year: fc.oneof(between(0, 9999), fc.constantFrom(0, 1, 9999)), month: between(0, 13), day: between(0, 32), hours: between(0, 24), minutes: between(0, 60), seconds: between(0, 60), offsetHours: between(0, 24), offsetMinutes: between(0, 60), sign: fc.constantFrom('+', '-') });
  const lengths = (year: number): readonly number[] => [31, year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

  test('is what the calendar makes of it, for every time in the form the CRM writes; what exists in none stays as it stands, and is no Modified_Time', () => {
    fc.assert(
      fc.property(anyTime, ({ year, month, day, hours, minutes, seconds, offsetHours, offsetMinutes, sign }) => {
        const text = `${String(year).padStart(4, '0')}-${two(month)}-${two(day)}T${two(hours)}:${two(minutes)}:${two(seconds)}${sign}${two(offsetHours)}:${two(offsetMinutes)}`;
        const exists = year > 0 && day > 0 && day <= (lengths(year)[month - 1] ?? 0) && hours < 24 && minutes < 60 && seconds < 60 && offsetHours < 16 && offsetMinutes < 60;
        const utc = exists ? new Date(text).toISOString() : '';
        const isOfFourDigits = /^(?!0000)\d{4}-/.test(utc);
        // At the edges see below.
        const expected = isOfFourDigits ? `${utc.slice(0, -5)}Z` : exists ? canonicalInstant(text) : text;
        expect([canonicalInstant(text), msOrNull(text)]).toEqual([expected, isOfFourDigits ? Date.parse(text) : null]);
      }),
      { numRuns: 20_000 },
    );
  });

  test.each([
    ['0001-01-01T00:00:00+05:30', '0001-12-31T18:30:00Z BC'],
    ['0001-01-01 00:00:00.50+00:01', '0001-12-31T23:59:00.5Z BC'],
    ['9999-12-31T23:59:59-08:00', '10000-01-01T07:59:59Z'],
    ['9999-12-31T23:59:59.0-0800', '10000-01-01T07:59:59Z'],
    ['0001-01-01T00:00:00-00:01', '0001-01-01T00:01:00Z'],
    ['1969-12-31T23:59:59+00:00', '1969-12-31T23:59:59Z'],
    ['2024-07-20T00:51:23.123456789+05:30', '2024-07-19T19:21:23.123456789Z'],
    ['1969-12-31T23:59:59.0625Z', '1969-12-31T23:59:59.0625Z'],
  ])('"%s" is %s, with every digit and every year', (text, canonical) => expect(canonicalInstant(text)).toBe(canonical));

  test.each([
    '2024-07-20T00:51:23+05:3x', '2024-07-20T00:5 :23+05:30', '2024-0x-20T00:51:23+05:30', '2024-07-20T00:51:23 05:30', '2024-07-20T00:51:60+05:30', ' 024-07-20T00:51:23+05:30',
    '2023-02-29T10:00:00Z', '2024-02-30T00:51:23+05:30', '2024-07-20T24:00:00Z', '2024-07-20T23:59:60.5Z', '0000-12-31T23:00:00-02:00', '2024-07-20T00:51:23+16:00', '2024-07-20T00:51:23,5Z',
  ])('"%s" is none', (text) => {
    expect(canonicalInstant(text)).toBe(text);
    expect(() => instantMs(text)).toThrow(RangeError);
  });
});

test('a list of what has no name loses nothing of it', () => {
  expect(canonicalJson('text', [{ id: '1', qty: 2 }, 7])).toBe('[{"id":"1","qty":2},7]');
  expect(canonicalJson('multiselect', [null])).toBe('[null]');
});

describe('an object that has no id of its own', () => {
  test.each([
    [{ name: 'Chapman', id: null }, '{"id":null,"name":"Chapman"}'],
    [{ name: 'Chapman', id: '' }, '{"id":"","name":"Chapman"}'],
    [{ name: 'Chapman', id: { id: '5545974000002011001' } }, '{"id":{"id":"5545974000002011001"},"name":"Chapman"}'],
    [{ name: 'Chapman', id: ['5545974000002011001'] }, '{"id":["5545974000002011001"],"name":"Chapman"}'],
    [{ name: 'Chapman', id: true }, '{"id":true,"name":"Chapman"}'],
    [{ name: 'Chapman' }, '{"name":"Chapman"}'],
    [{}, '{}'],
  ])('%j loses nothing of it, and is of one form whatever the order of its keys', (value, json) => {
    const turned = Object.fromEntries(Object.entries(value).toReversed());
    for (const kind of ['lookup', 'text', 'integer'] as const) expect([canonicalJson(kind, value), canonicalJson(kind, turned)]).toEqual([json, json]);
  });
});

test('an id is a whole number from 1 to 2^63 - 1 without leading zeros', () => {
  expect(['1', '5725767000003000064', '9223372036854775807'].every(isRecordId)).toBe(true);
  expect(['', '0', '01', '-1', '1.0', ' 1', '9223372036854775808', '9999999999999999999', '12345678901234567890'].some(isRecordId)).toBe(false);
});

describe('what is not of its kind', () => {
  test.each<[FieldKind, string]>([
    ['integer', 'many'],
    ['decimal', '1,000'],
    ['decimal', '.'],
    ['decimal', '1e999999999'],
    ['boolean', 'yes'],
    ['datetime', '2024-07-20 midnight'],
    ['datetime', '2024-07-20T00:51:23'],
  ])('%s "%s" is kept as it stands', (kind, cell) => expect(canonicalCell(kind, cell)).toBe(cell));

  test('a Modified_Time without an offset is refused', () => {
    expect(() => instantMs('2024-07-20T00:51:23')).toThrow(RangeError);
    expect(instantMs('1970-01-01T05:30:01+05:30')).toBe(1000);
  });
});
