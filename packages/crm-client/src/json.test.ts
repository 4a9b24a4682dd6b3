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
