import { createTestDatabase, type TestDatabase } from '@lockstep/local-stack';
import { defineModule } from '@lockstep/modules';
import { connect, type Database, migrate } from '@lockstep/postgres';
import pg, { type PoolClient } from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { adoptMapping } from './module-projection.ts';
import { recordId, Topic } from './testing.ts';

const module = defineModule({
  apiName: 'Deals', slug: 'deals', table: { schema: 'public', name: 'legacy' }, keyColumn: 'id', modifiedTimeColumn: 'modified', onDelete: { action: 'mark', deletedColumn: 'deleted' },
  fields: [{ field: 'Name', kind: 'text', column: 'name', type: 'varchar(5)' }],
});

let testDatabase: TestDatabase;
let db: Database;
let client: PoolClient;
const name = `sql_ascii_${process.pid}`;
const admin = async (sql: string): Promise<void> => {
  const connection = new pg.Client({ connectionString: testDatabase.url });
  await connection.connect();
  await connection.query(sql);
  await connection.end();
};

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  await admin(`create database ${name} encoding 'SQL_ASCII' template template0 locale 'C'`);
  const url = new URL(testDatabase.url);
  url.pathname = `/${name}`;
  db = await connect({ url: url.href, poolSize: 2 });
  await migrate(db, [module]);
  client = await db.pool.connect();
  await client.query('create table public.legacy (id bigint unique, modified timestamptz, deleted timestamptz, name varchar(5))');
});
afterAll(async () => {
  client.release();
  await db.close();
  await admin(`drop database ${name}`);
  await testDatabase.drop();
});

test('in a database that counts bytes, blanks that a varchar would cut are found by bytes', async () => {
  const topic = new Topic(client, module);
  await adoptMapping(db.pool, topic.projection);
  await topic.project([topic.seen({ n: 1, modified: '10:00:00', Name: 'éé   ' }), topic.seen({ n: 2, modified: '10:00:00', Name: 'éé ' }), topic.seen({ n: 3, modified: '10:00:00', Name: 'ééé' })]);
  expect((await client.query('select id::text, name from public.legacy')).rows).toEqual([{ id: recordId(2), name: 'éé ' }]);
  expect((await client.query('select record_id, code from lockstep.parked order by 1')).rows).toEqual([{ record_id: recordId(1), code: 'VALUE_NOT_EXACT' }, { record_id: recordId(3), code: '22001' }]);
});
