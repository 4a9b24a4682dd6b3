import { expect, test } from 'vitest';

import { loadPostgresConfig } from './config.ts';

const DATABASE_URL = 'postgres://user@host/legacy';

test('a pool in which an app would wait for itself is refused with the least that it needs', () => {
  expect(loadPostgresConfig({ DATABASE_URL, DATABASE_POOL_SIZE: '4' })).toEqual({ url: DATABASE_URL, poolSize: 4 });
  expect(() => loadPostgresConfig({ DATABASE_URL, DATABASE_POOL_SIZE: '3' })).toThrow(/DATABASE_POOL_SIZE: .*at least 4: two are held/);
});
