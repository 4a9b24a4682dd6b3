import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { canonicalCell, canonicalJson, type FieldKind } from './canonical.ts';
import { canonicalInstant, instantMs } from './canonical-instant.ts';

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
    ['lookup', '', null, null],
    ['multiselect', 'English;German', ['English', 'German'], 'English;German'],
    ['multiselect', 'English,German', ['English', 'German'], 'English;German'],
    ['multiselect', '', [], null],
    ['tags', 'hot,new', [{ name: 'hot', id: '1' }, { name: 'new', id: '2' }], 'hot,new'],
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
  const anyTime = fc.tuple(fc.integer({ min: 0, max: 9999 }), ...[[0, 13], [0, 32], [0, 24], [0, 60], [0, 60], [0, 24], [0, 60]].map(([min, max]) => fc.integer({ min: min as number, max: max as number })), fc.constantFrom('+', '-'));

  test('is what the platform makes of it, for every time in the form the CRM writes, and for those that do not exist', () => {
    fc.assert(
      fc.property(anyTime, ([year, month, day, hours, minutes, seconds, offsetHours, offsetMinutes, sign]) => {
        const text = `${String(year).padStart(4, '0')}-${two(month as number)}-${two(day as number)}T${two(hours as number)}:${two(minutes as number)}:${two(seconds as number)}${sign as string}${two(offsetHours as number)}:${two(offsetMinutes as number)}`;
        const ms = Date.parse(text);
        expect(canonicalInstant(text)).toBe(Number.isNaN(ms) ? text : `${new Date(ms).toISOString().slice(0, -5)}Z`);
        expect(Number.isNaN(ms) ? ms : instantMs(text)).toBe(ms);
      }),
      { numRuns: 20_000 },
    );
  });

  test.each([
    ['0000-01-01T00:00:00+00:01', '-000001-12-31T23:59:00Z'],
    ['9999-12-31T23:59:00-00:01', '+010000-01-01T00:00:00Z'],
    ['1969-12-31T23:59:59+00:00', '1969-12-31T23:59:59Z'],
  ])('"%s" is %s', (text, canonical) => expect(canonicalInstant(text)).toBe(canonical));

  test.each(['2024-07-20T00:51:23+05:3x', '2024-07-20T00:5 :23+05:30', '2024-0x-20T00:51:23+05:30', '2024-07-20T00:51:23 05:30', '2024-07-20T00:51:60+05:30', ' 024-07-20T00:51:23+05:30'])('"%s" is none', (text) => {
    expect(canonicalInstant(text)).toBe(text);
    expect(() => instantMs(text)).toThrow(RangeError);
  });
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
