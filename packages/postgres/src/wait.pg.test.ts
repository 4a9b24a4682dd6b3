import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';

import type { Database } from './database.ts';
import { noteEpsilon } from './settings.ts';
import { openTestDatabase } from './testing.ts';

let db: Database;

beforeAll(async () => {
  db = await openTestDatabase([{ slug: 'leads', apiName: 'Leads' }], { poolSize: 3 });
  await noteEpsilon(db, 60_000);
});
afterAll(() => db.close());
beforeEach(() => db.pool.query(`truncate lockstep.record_version, lockstep.parked, lockstep.mapping; insert into lockstep.mapping (module, fingerprint) values ('Leads', 'x')`));

const TIME = '2026-03-02T10:05:00Z';
const AT = Date.parse(TIME);
const wait = async (timeout = '300 ms', id = '17', module = 'Leads'): Promise<boolean> => (await db.pool.query<{ is_there: boolean }>('select lockstep.wait($1, $2::bigint, $3::timestamptz, $4::interval) as is_there', [module, id, TIME, timeout])).rows[0]?.is_there === true;
const enter = (values: { readonly modified?: number; readonly deleted?: number }): Promise<unknown> =>
  db.pool.query(`insert into lockstep.record_version (module, record_id, modified_ms, observed_ms, deleted_ms, log_partition, log_offset) values ('Leads', 17, $1, $1, $2, 0, 0)`, [values.modified ?? null, values.deleted ?? null]);

test('returns at once where the record stands with that modified time or a later one', async () => {
  await enter({ modified: AT });
  expect(await wait('0 s')).toBe(true);
});

test('returns when another transaction brings it', async () => {
  await enter({ modified: AT - 1_000 });
  const waiting = wait('30 s');
  await expect.poll(() => db.pool.query(`select from pg_stat_activity where query like '%lockstep.wait(%' and pid <> pg_backend_pid() and state = 'active'`).then(({ rowCount }) => rowCount)).toBe(1);
  await db.pool.query('update lockstep.record_version set modified_ms = $1', [AT + 1]);
  expect(await waiting).toBe(true);
});

test('does not return before its time where an older state stands, or nothing', async () => {
  expect(await wait()).toBe(false);
  await enter({ modified: AT - 1 });
  expect(await wait()).toBe(false);
});

test('takes a deletion since then for an answer, and not an older one', async () => {
  await enter({ modified: AT - 5_000, deleted: AT - 1_000 });
  expect(await wait()).toBe(false);
  await db.pool.query('update lockstep.record_version set deleted_ms = $1', [AT + 999]);
  expect(await wait()).toBe(true);
});

test('says why what is parked for good does not come, and goes on waiting for what waits itself', async () => {
  await db.pool.query(`insert into lockstep.parked (module, topic_id, topic, partition, log_offset, record_id, code, cause, retryable, modified_ms) values ('Leads', 't', 't', 0, 0, '17', 'VALUE_NOT_EXACT', 'company: too long', true, $1)`, [AT]);
  expect(await wait()).toBe(false);
  await db.pool.query('update lockstep.parked set retryable = false');
  await expect(wait()).rejects.toMatchObject({ code: '55000', message: 'record 17 of Leads is parked, and does not come by itself: VALUE_NOT_EXACT: company: too long' });
});

test('refuses a transaction that would not see what comes, and a module that is not there', async () => {
  const client = await db.pool.connect();
  await client.query('begin isolation level repeatable read');
  await expect(client.query(`select lockstep.wait('Leads', 17, now())`)).rejects.toMatchObject({ code: '25001', message: expect.stringContaining('sees nothing new in a transaction at repeatable read') as unknown });
  await client.query('rollback');
  client.release();
  await expect(wait('1 s', '17', 'Accounts')).rejects.toMatchObject({ code: '22023' });
});

test.each([['ahead', '1 hour'], ['back', '-1 hour']])('takes the time it was given when the clock is set %s meanwhile', async (_, by) => {
  const client = await db.pool.connect();
  try {
    // Stands in for the database's clock, which is set after it was first read.
    await client.query(`
      begin; set local statement_timeout = '10 s';
      create schema stepped; create sequence stepped.reads;
      create function stepped.clock_timestamp() returns timestamptz language sql volatile as $$ select pg_catalog.clock_timestamp() + case when nextval('stepped.reads') > 1 then interval '${by}' else interval '0' end $$;
      set local search_path = stepped, pg_catalog`);
    const began = performance.now();
    const { rows } = await client.query<{ is_there: boolean }>(`select lockstep.wait('Leads', 17, now(), '400 ms') as is_there`);
    expect(rows).toEqual([{ is_there: false }]);
    expect(performance.now() - began).toBeGreaterThan(300);
  } finally {
    await client.query('rollback');
    client.release();
  }
});
