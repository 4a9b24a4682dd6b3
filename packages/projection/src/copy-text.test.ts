import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { writeCopyFields } from './copy-text.ts';

const unescaped: Record<string, string> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', '\\': '\\' };
const read = (cell: string): string | null => (cell === '\\N' ? null : cell.replace(/\\(.)/g, (_, c: string) => unescaped[c] ?? `?${c}`));
const write = (json: string, keep: readonly boolean[], end = '}'): Buffer => {
  const source = Buffer.from(json + end);
  const target = Buffer.alloc(source.length);
  return target.subarray(0, writeCopyFields(source, 0, keep, target, 0, [], keep.map((_, i) => (i === 1 ? 'company' : undefined))));
};
const copied = (json: string, keep: readonly boolean[]): (string | null)[] => write(json, keep).toString().split('\t').slice(1).map(read);
const storable = fc.string({ unit: 'binary' }).map((text) => text.toWellFormed().replaceAll('\0', ''));

describe('writeCopyFields', () => {
  test('gives Postgres the very values the JSON holds', () => {
    const fields = fc.array(fc.oneof(storable, fc.boolean(), fc.constant(null)), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(fields, (values) => {
        const expected = values.map((value) => (typeof value === 'boolean' ? String(value)[0] : value));
        expect(copied(JSON.stringify(values), values.map(() => true))).toEqual(expected);
      }),
    );
  });

  test('reads escapes that our own writer does not use', () => {
    expect(copied(String.raw`["\u00e9\/\u005c\u0009\ud83d\ude00"]`, [true])).toEqual(['é/\\\t😀']);
  });

  test('passes over fields no column receives', () => {
    expect(copied('["a",null,"c\\"d",true]', [false, true, false, true])).toEqual([null, 't']);
  });

  test.each([
    ['too few fields', '["a"]', 2],
    ['too many fields', '["a","b","c"]', 2],
    ['a number', '[1]', 1],
    ['a nested array', '[["a"]]', 1],
    ['an open string', '["a', 1],
    ['a raw line feed', '["a\nb"]', 1],
    ['a word that is no value', '[nil]', 1],
    ['a broken escape', String.raw`["\u00zz"]`, 1],
    ['an unknown escape', String.raw`["\x41"]`, 1],
  ])('refuses %s', (_, json, count) => {
    expect(() => write(json, Array.from({ length: count }, () => true))).toThrow(expect.objectContaining({ code: 'EVENT_FIELDS_MALFORMED' }));
  });

  test.each(['', '}}', '} ', '},', '}]}', '}\n'])('refuses an event that ends with %j instead of a brace', (end) => {
    expect(() => write('["a"]', [true], end)).toThrow(expect.objectContaining({ code: 'EVENT_FIELDS_MALFORMED' }));
  });

  test('names the column of a text that cannot be stored, and takes no offence at one that no column receives', () => {
    expect(() => write(String.raw`["a","b\u0000"]`, [true, true])).toThrow('company: the text holds U+0000, which Postgres cannot store');
    expect(copied(String.raw`["a","b\u0000\ud800"]`, [true, false])).toEqual(['a']);
  });

  test.each([String.raw`["a\u0000b"]`, String.raw`["\ud800"]`, String.raw`["\udc00\ud800"]`])('refuses %s, which no Postgres text can hold', (json) => {
    expect(() => write(json, [true])).toThrow(expect.objectContaining({ code: 'VALUE_NOT_STORABLE' }));
  });
});
