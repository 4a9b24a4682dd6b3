import { createTestDatabase, type TestDatabase } from '@lockstep/local-stack';
import { defineModule } from '@lockstep/modules';
import { connect, type Database, migrate } from '@lockstep/postgres';
import type { PoolClient } from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { adoptMapping } from './module-projection.ts';
import { retryParked } from './retry-parked.ts';
import { recordId, Topic } from './testing.ts';

/** Columns beside the mapped ones are the legacy application's: its checks and triggers see its values, never a row without them. */
const module = defineModule({
  apiName: 'Deals',
  slug: 'deals',
  table: { schema: 'public', name: 'legacy' },
  keyColumn: 'id',
  modifiedTimeColumn: 'modified',
  onDelete: { action: 'mark', deletedColumn: 'deleted' },
  fields: [{ field: 'Stage', kind: 'text', column: 'stage', type: 'text' }, { field: 'Number', kind: 'text', column: 'number', type: 'text' }],
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
    create table public.legacy (id bigint unique, modified timestamptz, deleted timestamptz, stage text, number text unique, approved_by text);
    create table public.audit (what text);
    create or replace function public.note() returns trigger language plpgsql as $$ begin insert into public.audit values (tg_op); return new; end $$;
    ${setup}`);
  const topic = new Topic(client, module);
  await adoptMapping(db.pool, topic.projection);
  return topic;
}

const approved = `alter table public.legacy add constraint approved check (stage <> 'won' or approved_by is not null)`;
const open = (): Promise<unknown[]> => rows('select code, record_id from lockstep.parked where resolved_at is null');

describe.each([['few', 1], ['many', 60]])('with %s records', (_, n) => {
  const all = (topic: Topic, modified: string, stage: string): ReturnType<Topic['seen']>[] => Array.from({ length: n }, (__, i) => topic.seen({ n: i + 1, modified, Stage: stage }));

  test('a check over a column of theirs judges the row that stands', async () => {
    const topic = await opened(approved);
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

test.each([
  ['a check', approved],
  ['a check of the whole row', `create or replace function public.fits(public.legacy) returns boolean language sql immutable as 'select $1.stage <> ''won'' or $1.approved_by is not null'; alter table public.legacy add check (public.fits(legacy))`],
  ['a generated column that may not be null', `alter table public.legacy add column shown text generated always as (stage || approved_by) stored, alter column shown set not null`],
  ['a trigger for new rows', `create or replace function public.refuse() returns trigger language plpgsql as $$ begin if new.approved_by is null then raise exception 'no'; end if; return new; end $$;
    create trigger refuses before insert on public.legacy for each row execute function public.refuse()`],
])('%s that the table gets between two batches judges rows that stand, and those that swap a unique value', async (_, setup) => {
  const topic = await opened('');
  await topic.project([topic.seen({ n: 1, modified: '09:00:00', Stage: 'open', Number: '1' }), topic.seen({ n: 2, modified: '09:00:00', Stage: 'open', Number: '2' })]);
  await client.query(`update public.legacy set approved_by = 'Ada'; ${setup}`);
  await topic.project([topic.seen({ n: 1, modified: '10:00:00', Stage: 'won', Number: '2' }), topic.seen({ n: 2, modified: '10:00:00', Stage: 'won', Number: '1' })]);
  await client.query(`update lockstep.parked set tried_at = now() - interval '1 hour'`);
  await retryParked(client, topic.projection);
  expect([await open(), await rows('select stage, number, approved_by as by from public.legacy order by id')]).toEqual([[], [{ stage: 'won', number: '2', by: 'Ada' }, { stage: 'won', number: '1', by: 'Ada' }]]);
});

test.each([['giver', [0, 1]], ['taker', [1, 0]]])('a new row takes a value that a row gives up in the same batch, the %s first', async (_, order) => {
  const topic = await opened(approved);
  await topic.project([topic.seen({ n: 1, modified: '09:00:00', Number: '1' })]);
  const offset = topic.seen({ n: 3, modified: '09:00:00' }).offset;
  const both = [topic.seen({ n: 1, modified: '10:00:00', Number: '2' }), topic.seen({ n: 2, modified: '10:00:00', Number: '1' })];
  await topic.project(order.flatMap((i) => both[i] ?? []).map((message, i) => ({ ...message, offset: offset + i })));
  expect([await open(), await rows('select number from public.legacy order by id')]).toEqual([[], [{ number: '2' }, { number: '1' }]]);
});
