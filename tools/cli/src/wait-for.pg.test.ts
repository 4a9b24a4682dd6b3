import { createTestDatabase, type TestDatabase } from '@lockstep/local-stack';
import { leads } from '@lockstep/modules';
import { connect, type Database, migrate } from '@lockstep/postgres';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';

import { waitFor } from './wait-for.ts';

let testDatabase: TestDatabase;
let db: Database;

beforeAll(async () => {
  testDatabase = await createTestDatabase({});
  db = await connect({ url: testDatabase.url, poolSize: 2 });
  await migrate(db, [leads]);
  await db.pool.query(`insert into lockstep.mapping (module, fingerprint) values ('Leads', 'x')`);
});
afterAll(async () => {
  await db.close();
  await testDatabase.drop();
});
beforeEach(() => db.pool.query('truncate lockstep.record_version, lockstep.parked'));

const AT = Date.parse('2026-03-02T10:05:00Z');
const wait = (timeoutSeconds: number, on: Pick<Database, 'pool'> = db) => waitFor(on, { module: 'Leads', id: '17', modifiedMs: AT, timeoutSeconds });
const enter = (modifiedMs: number, deletedMs: number | null = null): Promise<unknown> =>
  db.pool.query(`insert into lockstep.record_version (module, record_id, modified_ms, observed_ms, deleted_ms, log_partition, log_offset) values ('Leads', 17, $1, $1, $2, 0, 0)`, [modifiedMs, deletedMs]);

test('says how a record stands once it does, and when it does not in time', async () => {
  expect(await wait(0.05)).toEqual({ isThere: false, state: 'not there in time', cause: null });
  const waiting = wait(30);
  await enter(AT + 1);
  expect(await waiting).toEqual({ isThere: true, state: 'stands', cause: null });
  await db.pool.query('update lockstep.record_version set deleted_ms = modified_ms + 999');
  expect(await wait(0)).toEqual({ isThere: true, state: 'deleted', cause: null });
});

test('says why what is parked for good does not come', async () => {
  await db.pool.query(`insert into lockstep.parked (module, topic_id, topic, partition, log_offset, record_id, code, cause, retryable, modified_ms) values ('Leads', 't', 't', 0, 0, '17', 'VALUE_NOT_EXACT', 'too long', false, $1)`, [AT]);
  expect(await wait(30)).toMatchObject({ isThere: false, state: 'parked', cause: expect.stringMatching(/VALUE_NOT_EXACT: too long/) as unknown });
});

test('ends in time where the clock of the database was set back during a pause, which then lasts for an hour', async () => {
  // Stands in for the pause of a function, which goes by the wall clock.
  await db.pool.query(`create schema set_back; create function set_back.pg_sleep(seconds double precision) returns void language sql volatile as 'select pg_catalog.pg_sleep(3600)'`);
  const setBack = await connect({ url: testDatabase.url, poolSize: 1 });
  await setBack.pool.query(`set search_path = set_back, pg_catalog; set statement_timeout = '5s'`);
  try {
    expect(await wait(0.05, setBack)).toEqual({ isThere: false, state: 'not there in time', cause: null });
  } finally {
    await setBack.close();
  }
});
