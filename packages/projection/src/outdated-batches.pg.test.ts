import { createTestDatabase } from '@lockstep/local-stack';
import { leads } from '@lockstep/modules';
import { connect, type Database, migrate } from '@lockstep/postgres';
import type { PoolClient } from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import type { LogMessage } from './fold-batch.ts';
import { adoptMapping } from './module-projection.ts';
import { recordId, Topic } from './testing.ts';

let testDatabase: Awaited<ReturnType<typeof createTestDatabase>>;
let db: Database;
let client: PoolClient;
let topic: Topic;

beforeAll(async () => {
  testDatabase = await createTestDatabase({ legacySchema: true });
  db = await connect({ url: testDatabase.url, poolSize: 2 });
  await migrate(db, [leads]);
  client = await db.pool.connect();
});

afterAll(async () => {
  client.release();
  await db.close();
  await testDatabase.drop();
});

beforeEach(async () => {
  await client.query('truncate public.leads, lockstep.record_version, lockstep.projection_offset, lockstep.parked cascade');
  topic = new Topic(client, leads);
  await adoptMapping(db.pool, topic.projection);
});

const rows = async (sql: string): Promise<unknown[]> => (await client.query(sql)).rows;
const ROWS = 200;
const all = (modified: string, name: string): LogMessage[] => Array.from({ length: ROWS }, (_, n) => topic.seen({ n, modified, Last_Name: `${name} ${n}` }));

describe('a large batch that is outdated for the most part', () => {
  test('writes nothing to register and table, no lock either', async () => {
    await topic.project(all('10:05:00', 'New'));
    const { applied, refused } = await topic.project(all('10:00:00', 'Old'));
    expect({ applied, refused }).toEqual({ applied: 0, refused: ROWS });
    // A row that was locked has the transaction's number as its xmax.
    expect(await rows(`select count(*)::int as n from lockstep.record_version where module = 'Leads' and xmax::text = '0'`)).toEqual([{ n: ROWS }]);
    expect(await rows(`select count(*)::int as n from public.leads where xmax::text = '0' and last_name like 'New %'`)).toEqual([{ n: ROWS }]);
  });

  test('applies all the same what is new, newer, deleted or listed in it', async () => {
    await topic.project(all('10:05:00', 'New'));
    await topic.project([topic.deleted('09:00:00', 7)]);
    const { applied } = await topic.project([
      ...all('10:00:00', 'Old'),
      topic.seen({ n: ROWS + 1, modified: '10:00:00', Last_Name: 'First' }),
      topic.seen({ n: 5, modified: '10:10:00', Last_Name: 'Newest' }),
      topic.deleted('10:20:00', 6),
      topic.deleted('09:00:00', 7, '10:30:00'),
    ]);
    expect(applied).toBe(4);
    expect(await rows(`select last_name, deleted_at is not null as dead from public.leads where last_name not like 'New %' or deleted_at is not null order by id`)).toEqual([
      { last_name: 'Newest', dead: false },
      { last_name: 'New 6', dead: true },
      { last_name: 'First', dead: false },
    ]);
    expect(await rows(`select listed_ms is not null as listed from lockstep.record_version where module = 'Leads' and record_id = ${recordId(7)}`)).toEqual([{ listed: true }]);
  });
});

test('a large batch of newer contents deletes what it says is deleted, and nothing else', async () => {
  await topic.project(all('10:00:00', 'Old'));
  await topic.project([...all('10:05:00', 'New'), topic.deleted('10:20:00', 6)]);
  expect(await rows(`select last_name from public.leads where deleted_at is not null or last_name not like 'New %'`)).toEqual([{ last_name: 'New 6' }]);
});

test('a large batch of newer contents leaves the dead dead, and revives what was seen after its deletion', async () => {
  await topic.project([...all('10:00:00', 'Old'), topic.deleted('10:30:00', 6), topic.deleted('10:02:00', 7)]);
  await topic.project(all('10:05:00', 'New'));
  expect(await rows(`select last_name, deleted_at is not null as dead from public.leads where last_name in ('New 5', 'New 6', 'New 7') order by id`)).toEqual([
    { last_name: 'New 5', dead: false },
    { last_name: 'New 6', dead: true },
    { last_name: 'New 7', dead: false },
  ]);
});
