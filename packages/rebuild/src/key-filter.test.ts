import fc from 'fast-check';
import { expect, test } from 'vitest';

import { bitsOf, KeyFilter } from './key-filter.ts';

test('has every key that was added', () => {
  fc.assert(fc.property(fc.array(fc.string(), { maxLength: 200 }), (keys) => {
    const filter = new KeyFilter();
    for (const key of keys) filter.add(Buffer.from(key));
    expect(keys.every((key) => filter.has(Buffer.from(key)))).toBe(true);
  }));
});

test('has few others: about one in a hundred where it holds 10,000', () => {
  const filter = new KeyFilter();
  const key = (n: number): Buffer => Buffer.from(String(5_725_767_000_000_000_000n + BigInt(n)));
  for (let n = 0; n < 10_000; n += 1) filter.add(key(n));
  const wrong = Array.from({ length: 20_000 }, (_, n) => filter.has(key(1_000_000 + n))).filter(Boolean).length;
  expect(wrong / 20_000).toBeLessThan(0.02);
});

test('a key stands for bits that the filter has', () => {
  fc.assert(fc.property(fc.string(), (key) => {
    expect(bitsOf(Buffer.from(key)).every((bit) => Number.isInteger(bit) && bit >= 0 && bit < new KeyFilter().bytes.length * 8)).toBe(true);
  }));
});
