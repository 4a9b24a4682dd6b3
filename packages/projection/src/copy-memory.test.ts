import type { PoolClient } from 'pg';
import { expect, test } from 'vitest';

import { copyMemory } from './copy-memory.ts';

const connection = (): PoolClient => ({}) as PoolClient;

test('a connection writes over its own lines, and never over those of another', () => {
  const [one, other] = [connection(), connection()];
  const first = copyMemory(one, 100);
  expect(copyMemory(one, 80)).toBe(first);
  expect(copyMemory(other, 80).buffer).not.toBe(first.buffer);
});

test('a larger batch has enough memory', () => {
  const one = connection();
  copyMemory(one, 100);
  expect(copyMemory(one, 1_000).length).toBeGreaterThanOrEqual(1_000);
});
