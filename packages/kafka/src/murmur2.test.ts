import { createRequire } from 'node:module';

import { describe, expect, test } from 'vitest';

import { murmur2, partitionOf } from './murmur2.ts';

const require = createRequire(import.meta.url);
const theirs = require('kafkajs/src/producer/partitioners/default/murmur2.js') as (key: Buffer) => number;

describe('murmur2', () => {
  test("hashes 2,000 keys of every length as kafkajs's own, which follows Java's", () => {
    const keys = Array.from({ length: 2000 }, (_, i) => Buffer.from(`${'é'.repeat(i % 7)}${BigInt(i) * 7919n ** 3n}`.slice(0, i % 23)));
    expect(keys.map((key) => murmur2(key))).toEqual(keys.map(theirs));
  });

  test('gives a record id one partition, as text and as bytes', () => {
    expect(partitionOf('5725767000100000007', 4)).toBe(partitionOf(Buffer.from('5725767000100000007'), 4));
  });
});
