import type { ConsumedChange, Fields } from '@lockstep/consumer';
import { expect, test } from 'vitest';

import { loadConfig } from './config.ts';
import { wonBy } from './deals-won.ts';

const change = (before: Fields | null, after: Fields | null): ConsumedChange => ({
  module: 'Deals', id: '5725767000000000001', kind: 'changed', before, after, modifiedAt: new Date('2026-03-02T10:05:00Z'), deletedAt: null,
  place: { topic: 't', partition: 0, offset: 1 }, idempotencyKey: 'key',
});

test('a deal is won when its stage becomes the one of won deals, and not again while it stays so', () => {
  expect(wonBy(change({ Stage: 'Qualification' }, { Stage: 'Closed Won', Deal_Name: 'Big', Amount: '12345678901234567.89' }), 'Closed Won')).toEqual({
    event: 'deal.won', idempotencyKey: 'key', dealId: '5725767000000000001', name: 'Big', amount: '12345678901234567.89', currency: null, accountId: null, closingDate: null, wonAt: '2026-03-02T10:05:00.000Z',
  });
  expect(wonBy(change(null, { Stage: 'Closed Won' }), 'Closed Won')).toMatchObject({ event: 'deal.won' });
  expect(wonBy(change({ Stage: 'Closed Won' }, { Stage: 'Closed Won', Amount: '2' }), 'Closed Won')).toBeUndefined();
  expect(wonBy(change({ Stage: 'Closed Won' }, { Stage: 'Closed Lost' }), 'Closed Won')).toBeUndefined();
  expect(wonBy(change({ Stage: 'Closed Won' }, null), 'Closed Won')).toBeUndefined();
});

test('the configuration names either a receiver with its secret, or a file', () => {
  const env = { KAFKA_BROKERS: 'b:1', DATABASE_URL: 'postgres://h/db', CONSUMER_DATABASE_URL: 'postgres://h/other' };
  expect(loadConfig({ ...env, DEALS_WON_NDJSON: '/f' })).toMatchObject({ target: { file: '/f' }, consumer: { port: 8084, postgres: { url: 'postgres://h/other' } } });
  expect(loadConfig({ ...env, DEALS_WON_NDJSON: 'won.ndjson', INIT_CWD: '/called/from' })).toMatchObject({ target: { file: '/called/from/won.ndjson' } });
  expect(() => loadConfig(env)).toThrow(/DEALS_WON_URL, DEALS_WON_NDJSON: one of the two has to be set/);
  expect(() => loadConfig({ ...env, DEALS_WON_URL: 'https://h/x' })).toThrow(/DEALS_WON_SECRET: it has to be set/);
  expect(() => loadConfig({ ...env, DEALS_WON_URL: 'https://h/x', DEALS_WON_SECRET: 'short' })).toThrow(/DEALS_WON_SECRET/);
});
