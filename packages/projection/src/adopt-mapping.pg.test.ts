import { createTestDatabase, type TestDatabase } from '@lockstep/local-stack';
import { defineModule, leads } from '@lockstep/modules';
import { connect, type Database, migrate } from '@lockstep/postgres';
import type { PoolClient } from 'pg';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { adoptMapping, mappingState, noteComplete } from './adopt-mapping.ts';
import { ModuleProjection } from './module-projection.ts';
import { at, EPSILON_MS, Topic } from './testing.ts';

let testDatabase: TestDatabase;
let db: Database;
let client: PoolClient;

beforeEach(async () => {
  testDatabase = await createTestDatabase({ legacySchema: true });
  db = await connect({ url: testDatabase.url, poolSize: 5 });
  await migrate(db, [leads]);
  client = await db.pool.connect();
});
afterEach(async () => {
  client.release();
  await db.close();
  await testDatabase.drop();
});

const former = defineModule({ ...leads, fields: leads.fields.filter(({ column }) => column !== 'fax') });
const projection = (module = leads): ModuleProjection => new ModuleProjection(module, EPSILON_MS);
const completeColumns = async (): Promise<readonly string[] | null> => (await mappingState(db.pool, leads))?.complete?.fields.map(({ column }) => column) ?? null;

test('a batch under way by the former mapping ends before another one is adopted, and none begins after', async () => {
  const topic = new Topic(client, former);
  await adoptMapping(db.pool, topic.projection);
  await topic.project([topic.seen({ modified: '10:00:00', Company: 'First' })]);
  // A row that the application holds, so that the batch is under way.
  const blocking = await db.pool.connect();
  await blocking.query('begin; select from leads for update');
  const batch = topic.project([topic.seen({ modified: '10:01:00', Company: 'Second' })]);
  await expect.poll(async () => (await db.pool.query(`select from pg_locks where locktype = 'transactionid' and not granted`)).rowCount, { timeout: 10_000 }).toBe(1);
  let isAdopted = false;
  const adopting = adoptMapping(db.pool, projection()).then(() => {
    isAdopted = true;
    return isAdopted;
  });
  try {
    await expect.poll(async () => (await db.pool.query(`select from pg_locks where relation = 'lockstep.projection_offset'::regclass and not granted`)).rowCount, { timeout: 10_000 }).toBe(1);
    expect(isAdopted).toBe(false);
  } finally {
    await blocking.query('rollback');
    blocking.release();
    await Promise.allSettled([batch, adopting]);
  }
  await Promise.all([batch, adopting]);
  await expect(topic.project([topic.seen({ modified: '10:02:00', Company: 'Third' })])).rejects.toMatchObject({ code: 'MAPPING_CHANGED' });
  expect((await db.pool.query('select company, modified_time from leads')).rows).toEqual([{ company: 'Second', modified_time: new Date(at('10:01:00')).toISOString().replace('T', ' ').replace('.000Z', '+00') }]);
});

test('the first mapping fills the table as it is written; a later one is filled as far as it says the same', async () => {
  await adoptMapping(db.pool, projection(former));
  expect(await completeColumns()).toEqual(former.fields.map(({ column }) => column));
  await adoptMapping(db.pool, projection());
  expect(await completeColumns()).toEqual(former.fields.map(({ column }) => column));
  expect(await noteComplete(db.pool, projection(former))).toBe(false);
  expect(await noteComplete(db.pool, projection())).toBe(true);
  expect(await completeColumns()).toContain('fax');
  // What is not written for a while may be outdated afterwards.
  await adoptMapping(db.pool, projection(former));
  await adoptMapping(db.pool, projection());
  expect(await completeColumns()).not.toContain('fax');
});

test('a mapping that an earlier build has adopted is complete where it is the same, and unknown where it is another', async () => {
  await adoptMapping(db.pool, projection(former));
  await db.pool.query('update lockstep.mapping set complete = null');
  await adoptMapping(db.pool, projection());
  expect(await completeColumns()).toBeNull();
  await db.pool.query('update lockstep.mapping set fingerprint = $1', [projection(former).fingerprint]);
  await adoptMapping(db.pool, projection(former));
  expect(await completeColumns()).toHaveLength(former.fields.length);
});

test('what is logged without a column is no part of the mapping', () => {
  expect(projection(defineModule({ ...leads, alsoLogged: [] })).fingerprint).toBe(projection().fingerprint);
  expect(projection(former).fingerprint).not.toBe(projection().fingerprint);
});
