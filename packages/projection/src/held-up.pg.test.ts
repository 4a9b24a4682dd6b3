import { createTestDatabase, type TestDatabase } from '@lockstep/local-stack';
import { leads } from '@lockstep/modules';
import { connect, type Database, migrate } from '@lockstep/postgres';
import type { PoolClient } from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { adoptMapping } from './module-projection.ts';
import { retryParked } from './retry-parked.ts';
import { recordId, Topic } from './testing.ts';

let testDatabase: TestDatabase;
let db: Database;
let client: PoolClient;
let other: PoolClient;
let lead: Topic;

beforeAll(async () => {
  testDatabase = await createTestDatabase({ legacySchema: true });
  db = await connect({ url: testDatabase.url, poolSize: 4 });
  await migrate(db, [leads]);
  [client, other] = [await db.pool.connect(), await db.pool.connect()];
});
afterAll(async () => {
  client.release();
  other.release();
  await db.close();
  await testDatabase.drop();
});
beforeEach(async () => {
  await client.query(`truncate public.leads cascade; truncate lockstep.record_version, lockstep.projection_offset, lockstep.parked; set lock_timeout = '300ms'`);
  lead = new Topic(client, leads);
  await adoptMapping(db.pool, lead.projection);
});
afterEach(() => other.query('rollback'));

const all = (clock: string, company: string) => Array.from({ length: 8 }, (_, n) => lead.seen({ n, modified: clock, Company: company }));
const rows = async (sql: string): Promise<unknown[]> => (await client.query(sql)).rows;
const companies = (): Promise<unknown[]> => rows('select company, count(*)::int as n from leads group by 1 order by 1');
const parked = (): Promise<unknown[]> => rows('select code, record_id, retryable from lockstep.parked where resolved_at is null');
const retry = async () => {
  await client.query(`update lockstep.parked set tried_at = now() - interval '1 hour'`);
  return retryParked(client, lead.projection);
};

describe('a row that another session has locked', () => {
  beforeEach(async () => {
    await lead.project(all('10:00:00', 'first'));
    await other.query(`begin; select from leads where id = ${recordId(3)} for update`);
  });

  test('waits alone, the rest is applied, and it is applied once the lock is gone', async () => {
    expect(await lead.project(all('10:05:00', 'second'))).toMatchObject({ waiting: 1, rejects: 0 });
    expect([await companies(), await parked()]).toEqual([[{ company: 'first', n: 1 }, { company: 'second', n: 7 }], [{ code: '55P03', record_id: recordId(3), retryable: true }]]);
    expect(await rows(`select cause from lockstep.parked where cause not like '%in relation "leads"%' or cause like '%second%'`)).toEqual([]);
    expect(await retry()).toEqual({ resolved: 0, waiting: 1 });
    await other.query('rollback');
    expect(await retry()).toEqual({ resolved: 1, waiting: 0 });
    expect(await companies()).toEqual([{ company: 'second', n: 8 }]);
  });

  test('is not overwritten by what waited, once a newer version stands', async () => {
    await lead.project(all('10:05:00', 'second'));
    await other.query('rollback');
    await lead.project([lead.seen({ n: 3, modified: '10:10:00', Company: 'third' })]);
    await retry();
    expect(await companies()).toEqual([{ company: 'second', n: 7 }, { company: 'third', n: 1 }]);
    expect(await parked()).toEqual([]);
  });

  test('leaves the lock time-out of the connection as it was', async () => {
    await lead.project(all('10:05:00', 'second'));
    expect(await rows('show lock_timeout')).toEqual([{ lock_timeout: '300ms' }]);
  });
});

test('a table that is locked is waited for, and nothing is parked', async () => {
  await other.query('begin; lock table public.leads');
  await expect(lead.project(all('10:00:00', 'first'), { from: 0 })).rejects.toMatchObject({ code: '55P03' });
  await other.query('rollback');
  expect(await parked()).toEqual([]);
});

test('a batch that takes too long is halved, and what does by itself waits', async () => {
  await client.query(`create function public.ponder() returns trigger language plpgsql as $$ begin if new.company = 'slow' then perform pg_sleep(5); end if; return new; end $$;
    create trigger ponders before insert on public.leads for each row execute function public.ponder(); set statement_timeout = '300ms'`);
  try {
    const batch = [1, 2, 3, 4].map((n) => lead.seen({ n, modified: '10:00:00', Company: n === 2 ? 'slow' : 'quick' }));
    expect(await lead.project(batch)).toMatchObject({ waiting: 1 });
    expect([await companies(), await parked()]).toEqual([[{ company: 'quick', n: 3 }], [{ code: '57014', record_id: recordId(2), retryable: true }]]);
    expect(await retry()).toEqual({ resolved: 0, waiting: 1 });
  } finally {
    await client.query('set statement_timeout = 0; drop function public.ponder cascade');
  }
});
