import { createTestDatabase, type TestDatabase } from '@lockstep/local-stack';
import { defineModule } from '@lockstep/modules';
import { connect, type Database, migrate } from '@lockstep/postgres';
import type { PoolClient } from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { adoptMapping } from './module-projection.ts';
import { recordId, Topic } from './testing.ts';

/** Columns beside the mapped ones are the legacy application's: its checks and triggers see its values, never a row without them. */
const module = defineModule({
  apiName: 'Deals',
  slug: 'deals',
  table: { schema: 'public', name: 'legacy' },
  keyColumn: 'id',
  modifiedTimeColumn: 'modified',
  onDelete: { action: 'mark', deletedColumn: 'deleted' },
  fields: [{ field: 'Stage', kind: 'text', column: 'stage', type: 'text' }],
});

let testDatabase: TestDatabase;
let db: Database;
let client: PoolClient;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  db = await connect({ url: testDatabase.url, poolSize: 4 });
  await migrate(db, [module]);
  client = await db.pool.connect();
});
afterAll(async () => {
  client.release();
  await db.close();
  await testDatabase.drop();
});
beforeEach(() => client.query('truncate lockstep.record_version, lockstep.projection_offset, lockstep.parked, lockstep.mapping'));

const rows = async (sql: string): Promise<unknown[]> => (await client.query(sql)).rows;

async function opened(setup: string): Promise<Topic> {
  await client.query(`
    drop table if exists public.legacy, public.audit cascade;
    create table public.legacy (id bigint unique, modified timestamptz, deleted timestamptz, stage text, approved_by text);
    create table public.audit (what text);
    create or replace function public.note() returns trigger language plpgsql as $$ begin insert into public.audit values (tg_op); return new; end $$;
    ${setup}`);
  const topic = new Topic(client, module);
  await adoptMapping(db.pool, topic.projection);
  return topic;
}

describe.each([['few', 1], ['many', 60]])('with %s records', (_, n) => {
  const all = (topic: Topic, modified: string, stage: string): ReturnType<Topic['seen']>[] => Array.from({ length: n }, (__, i) => topic.seen({ n: i + 1, modified, Stage: stage }));

  test('a check over a column of theirs judges the row that stands', async () => {
    const topic = await opened(`alter table public.legacy add constraint approved check (stage <> 'won' or approved_by is not null)`);
    await topic.project(all(topic, '09:00:00', 'open'));
    await client.query(`update public.legacy set approved_by = 'Ada'`);
    await topic.project([...all(topic, '10:00:00', 'won'), topic.seen({ n: 99, modified: '10:00:00', Stage: 'open' })]);
    expect(await rows('select code, record_id from lockstep.parked')).toEqual([]);
    expect(await rows('select stage, approved_by as by, count(*)::int as n from public.legacy group by 1, 2 order by 2')).toEqual([{ stage: 'won', by: 'Ada', n }, { stage: 'open', by: null, n: 1 }]);
    await topic.project([topic.seen({ n: 99, modified: '11:00:00', Stage: 'won' })]);
    expect(await rows('select code, record_id from lockstep.parked')).toEqual([{ code: '23514', record_id: recordId(99) }]);
  });

  test('a trigger for new rows runs for new rows only', async () => {
    const topic = await opened('create trigger notes before insert on public.legacy for each row execute function public.note()');
    await topic.project(all(topic, '09:00:00', 'open'));
    await topic.project(all(topic, '10:00:00', 'won'));
    await topic.project([topic.deleted('11:00:00')]);
    expect(await rows('select what, count(*)::int as n from public.audit group by 1')).toEqual([{ what: 'INSERT', n }]);
    expect(await rows('select stage, deleted is not null as is_deleted from public.legacy order by id limit 1')).toEqual([{ stage: 'won', is_deleted: true }]);
  });
});
