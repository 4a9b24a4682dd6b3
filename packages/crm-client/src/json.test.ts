import { describe, expect, test } from 'vitest';
import { z } from 'zod';

import { parseExact } from './json.ts';

const parsed = (text: string): unknown => parseExact('GET /', z.unknown(), text);

describe('numbers of a reply', () => {
  test('are numbers where a double holds them', () => {
    expect(parsed('{"a": 50000.10, "b": -7, "c": [1e3], "d": "12345678901234567890"}')).toEqual({ a: 50_000.1, b: -7, c: [1_000], d: '12345678901234567890' });
  });

  test.each(['1234567890123456789', '-12345678901234.56', '0.1234567890123456'])('are their source text where one of them is %s', (long) => {
    expect(parsed(`{"a": 1.50, "b": ${long}, "c": [${long}]}`)).toEqual({ a: '1.50', b: long, c: [long] });
  });

  test('are not mistaken for what stands in a text', () => {
    expect(parsed('{"a": "call: 1234567890123456", "b": 2}')).toEqual({ a: 'call: 1234567890123456', b: '2' });
    expect(parsed('{"id":"5725701000000000001","b":2}')).toEqual({ id: '5725701000000000001', b: 2 });
  });
});
