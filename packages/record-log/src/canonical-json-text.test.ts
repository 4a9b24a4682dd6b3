import fc from 'fast-check';
import { expect, test } from 'vitest';

import { canonicalJson } from './canonical.ts';
import { canonicalJsonText } from './canonical-json-text.ts';

/** The same objects with their keys in another order. */
const reordered = (value: unknown): unknown =>
  JSON.parse(JSON.stringify(value), (_, part: unknown) => (typeof part === 'object' && part !== null && !Array.isArray(part) ? Object.fromEntries(Object.entries(part).toReversed()) : part));

test('is the value\'s JSON, whatever the order of its keys', () => {
  fc.assert(
    fc.property(fc.oneof(fc.dictionary(fc.oneof(fc.string(), fc.nat().map(String)), fc.jsonValue()), fc.array(fc.jsonValue())), (value) => {
      const text = canonicalJsonText(value);
      expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
      expect(canonicalJsonText(reordered(value) as object)).toBe(text);
    }),
    { numRuns: 2_000 },
  );
});

test.each([
  ['objects within objects', '{"a":'.repeat(50_000) + '1' + '}'.repeat(50_000)],
  ['lists within lists', '['.repeat(50_000) + ']'.repeat(50_000)],
  ['a list of many', `[${'1,'.repeat(300_000)}1]`],
])('of %s is written whole', (_, json) => {
  expect(canonicalJson('text', JSON.parse(json))).toBe(json);
});
