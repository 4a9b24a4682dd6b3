import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';

import { duplicateKey } from './duplicate-keys.ts';
import { parseExact, parseReply, replyText } from './json.ts';

const exact = (text: string): unknown => parseExact('GET', z.unknown(), text);

describe('a number', () => {
  const digits = fc.stringMatching(/^-?(?:0|[1-9]\d{0,18})(?:\.\d{1,18})?(?:[eE][+-]?\d{1,3})?$/);

  test('loses no digit: it comes as a number only where that gives its text back', () => {
    fc.assert(
      fc.property(fc.array(digits, { minLength: 1, maxLength: 4 }), (numbers) => {
        const values = exact(`{"data":[ ${numbers.map((number) => `{"Amount": ${number}}`).join(',')}]}`) as { data: { Amount: number | string }[] };
        expect(values.data.map(({ Amount }) => String(Amount))).toEqual(numbers);
        expect(values.data.filter(({ Amount: value }) => typeof value === 'string' && String(Number(value)) === value)).toEqual([]);
      }),
      { numRuns: 5_000 },
    );
  });

  test('is all that changes: texts, keys and structure stay as any parser reads them', () => {
    fc.assert(
      fc.property(fc.json(), digits, (json, number) => {
        const read = exact(`{"before":1.50,"json":${json},"after":${number}}`) as Record<string, unknown>;
        const asRead = (value: unknown): unknown => JSON.parse(JSON.stringify(value), (_, part: unknown) => (typeof part === 'string' && String(Number(part)) !== part && part.trim() !== '' && !Number.isNaN(Number(part)) ? Number(part) : part));
        expect([read['before'], String(read['after']), asRead(read['json'])]).toEqual(['1.50', number, asRead(JSON.parse(json))]);
      }),
      { numRuns: 2_000 },
    );
  });

  test('is read beside a value that is nested deeper than a call stack', () => {
    const deep = `${'{"a":'.repeat(50_000)}1.50${'}'.repeat(50_000)}`;
    expect(exact(`{"deep":${deep},"Amount":1.50}`)).toMatchObject({ Amount: '1.50' });
  });

  test.each(['{"a":1.50,"b":1.5.0}', '{"a":1.50,"b":-}', '{"a":01.50}', '{"a":+1.50}', '{"a":1.50'])('that is none makes %s no JSON', (text) => {
    expect(() => exact(text)).toThrow(expect.objectContaining({ code: 'CRM_UNAVAILABLE' }));
  });

  test('is the same whatever stands beside it', () => {
    const alone = exact('{"a":1.5}') as { a: unknown };
    const beside = exact('{"a":1.5,"b":1234567890123456.78,"c":1e400}') as Record<string, unknown>;
    expect(beside).toEqual({ a: alone.a, b: '1234567890123456.78', c: '1e400' });
  });
});

describe('what a parser would repair is refused', () => {
  test.each(['{"a":1,"a":2}', String.raw`{"a":1,"\u0061":2}`, '{"data":[{"id":"1"},{"id":"2","x":[{"y":1, "y" :1}]}]}'])('an object with a key twice: %s', (text) => {
    expect(() => parseReply('GET', z.unknown(), text)).toThrow(expect.objectContaining({ code: 'CRM_REPLY_UNEXPECTED' }));
    expect(() => exact(text)).toThrow(expect.objectContaining({ code: 'CRM_REPLY_UNEXPECTED' }));
  });

  test('and nothing but that, whatever the texts hold', () => {
    fc.assert(fc.property(fc.json(), (text) => duplicateKey(text) === null));
    expect(duplicateKey(String.raw`{"a":"\\","b":"\",\"a\":1","c":":-)"}`)).toBeNull();
  });

  test('bytes that are not UTF-8', () => {
    expect(() => replyText('GET', Buffer.from('{"a":"é"}', 'latin1'))).toThrow(expect.objectContaining({ code: 'CRM_UNAVAILABLE' }));
    expect(replyText('GET', Buffer.from('\uFEFF{"a":"é\uFFFD"}'))).toBe('{"a":"é\uFFFD"}');
  });
});
