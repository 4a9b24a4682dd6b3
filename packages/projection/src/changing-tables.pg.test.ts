import { createTestDatabase, type TestDatabase } from '@lockstep/local-stack';
import { defineModule } from '@lockstep/modules';
import { connect, type Database, migrate } from '@lockstep/postgres';
import type { PoolClient } from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { adoptMapping } from './module-projection.ts';
import { type Retried, retryParked } from './retry-parked.ts';
import { recordId, Topic } from './testing.ts';

/* Tables that take later what they refuse now: their types, functions and partitions change, or other rows come. */

const module = defineModule({
  apiName: 'Deals', slug: 'deals', table: { schema: 'public', name: 'legacy' }, keyColumn: 'id', modifiedTimeColumn: 'modified', onDelete: { action: 'mark', deletedColumn: 'deleted' },
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

const standard = 'create table public.legacy (id bigint unique, modified timestamptz, deleted timestamptz, stage text, number text)';

async function opened(setup: string, { table = standard } = {}): Promise<Topic> {
  await client.query(`drop table if exists public.legacy, public.orders cascade; ${table}; ${setup}`);
  const topic = new Topic(client, module);
  await adoptMapping(db.pool, topic.projection);
  return topic;
}

const rows = async (sql: string): Promise<unknown[]> => (await client.query(sql)).rows;
const open = (): Promise<unknown[]> => rows('select code, record_id, retryable from lockstep.parked where resolved_at is null order by id');
const stages = async (): Promise<unknown[]> => (await rows('select stage from public.legacy order by id')).map((row) => (row as { stage: unknown }).stage);
async function retry(topic: Topic): Promise<Retried> {
  await client.query(`update lockstep.parked set tried_at = now() - interval '1 hour'`);
  return await retryParked(client, topic.projection);
}

describe('what a table refuses for good is tried again once the cause has changed', () => {
  const makes = (body: string): string => `create or replace function public.act() returns trigger language plpgsql as $$ begin ${body}; return new; end $$`;
  const judges = (body: string): string => `create or replace function public.fits(text) returns boolean language plpgsql immutable as $$ begin return ${body}; end $$`;
  const custom = (type: string): string => `drop type if exists public.mood cascade; create ${type}; create table public.legacy (id bigint unique, modified timestamptz, deleted timestamptz, stage public.mood, number text)`;
  const ofMood = (type: string): string => `drop domain if exists public.moods cascade; ${custom(type).replace('stage public.mood', 'stage public.moods').replace('; create table', '; create domain public.moods as public.mood; create table')}`;
  const parted = `${standard} partition by hash (id)`;
  const half = (remainder: number): string => `create table public.legacy_${remainder} partition of public.legacy for values with (modulus 2, remainder ${remainder})`;

  test.each([
    ['an enum gets the value', custom(`type public.mood as enum ('open')`), '', `alter type public.mood add value 'won'`],
    ['a value of an enum is renamed', custom(`type public.mood as enum ('open', 'gained')`), '', `alter type public.mood rename value 'gained' to 'won'`],
    ['the enum below a domain gets the value', ofMood(`type public.mood as enum ('open')`), '', `alter type public.mood add value 'won'`],
    ['a domain loses its check', custom(`domain public.mood as text constraint known check (value = 'open')`), '', 'alter domain public.mood drop constraint known'],
    ['a domain below a domain loses its check', ofMood(`domain public.mood as text constraint known check (value = 'open')`), '', 'alter domain public.mood drop constraint known'],
    ['a trigger is written otherwise', standard, `${makes('new.stage := upper(new.stage)')}; create trigger acts before insert or update on public.legacy for each row when (new.stage = 'won') execute function public.act()`, makes('null')],
    ['the function of a check is written otherwise', standard, `${judges(`$1 = 'open'`)}; alter table public.legacy add check (public.fits(stage))`, judges('true')],
    ['a partition is made for it', parted, half(0), half(1)],
  ])('%s', async (_, table, setup, change) => {
    const topic = await opened(setup, { table });
    await topic.project(Array.from({ length: 8 }, (__, n) => topic.seen({ n, modified: '10:00:00', Stage: n % 2 === 0 ? 'open' : 'won' })));
    const refused = (await open()).length;
    expect(refused).toBeGreaterThan(0);
    expect(await retryParked(client, topic.projection)).toEqual({ resolved: 0, waiting: 0 });
    await client.query(change);
    expect(await retryParked(client, topic.projection)).toEqual({ resolved: refused, waiting: 0 });
    expect(await stages()).toEqual(['open', 'won', 'open', 'won', 'open', 'won', 'open', 'won']);
  });
});

describe('what a check refuses for now', () => {
  const ordered = `create table public.orders (number text); create or replace function public.is_ordered(text) returns boolean language sql stable as 'select exists (select from public.orders where number = $1)'`;
  const ofDomain = (check: string): string => standard.replace('number text', 'number public.ordered').replace('create', `create domain public.ordered as text check (${check}); create`);

  test.each([
    ['of the table', `${standard}; ${ordered}; alter table public.legacy add check (stage = 'a' or public.is_ordered(number))`],
    ['of a partition', `${standard} partition by hash (id); ${ordered}; create table public.legacy_0 partition of public.legacy (check (stage = 'a' or public.is_ordered(number))) for values with (modulus 1, remainder 0)`],
    ['of a domain', `${ordered}; ${ofDomain('value is null or public.is_ordered(value)')}`],
  ])('as rows of another table are missing stands once they are there: a check %s', async (_, table) => {
    await client.query('drop domain if exists public.ordered cascade');
    const topic = await opened('', { table });
    expect(await topic.project([topic.seen({ n: 1, modified: '10:00:00', Stage: 'a' }), topic.seen({ n: 2, modified: '10:00:00', Stage: 'b', Number: '7' })])).toMatchObject({ waiting: 1, rejects: 0 });
    expect(await open()).toEqual([{ code: '23514', record_id: recordId(2), retryable: true }]);
    expect(await retry(topic)).toEqual({ resolved: 0, waiting: 1 });
    await client.query(`insert into public.orders values ('7')`);
    expect(await retry(topic)).toEqual({ resolved: 1, waiting: 0 });
    expect(await stages()).toEqual(['a', 'b']);
  });

  test.each(['modified < now() - interval \'900 years\'', 'modified::date < current_date - 400000', 'modified < clock_timestamp() - interval \'900 years\'', 'modified < localtimestamp - interval \'900 years\''])('as the time has not come waits: %s', async (check) => {
    const topic = await opened(`alter table public.legacy add check (${check})`);
    expect(await topic.project([topic.seen({ n: 1, modified: '10:00:00', Stage: 'a' })])).toMatchObject({ waiting: 1, rejects: 0 });
    expect(await retry(topic)).toEqual({ resolved: 0, waiting: 1 });
  });

  test('is for good where it goes by the row alone', async () => {
    const topic = await opened(`create or replace function public.is_short(text) returns boolean language sql immutable as 'select length($1) < 3'; alter table public.legacy add check (public.is_short(stage)), add check (number <> 'now()')`);
    await topic.project([topic.seen({ n: 1, modified: '10:00:00', Stage: 'long' })]);
    expect(await open()).toMatchObject([{ code: '23514', retryable: false }]);
  });
});

test.each([1, 60])('a type that is dropped and made again is written by the same connection, which does not keep it from being dropped; in batches of %i', async (n) => {
  const columns = 'id bigint unique, modified timestamptz, deleted timestamptz, stage public.mood, number text';
  const topic = await opened('', { table: `drop type if exists public.mood cascade; create type public.mood as enum ('open', 'won'); create table public.legacy (${columns})` });
  const load = (modified: string, value: string) => topic.project(Array.from({ length: n }, (_, i) => topic.seen({ n: i, modified, Stage: value })));
  await load('10:00:00', 'open');
  await load('10:01:00', 'won');
  await client.query('alter table public.legacy alter stage type text');
  await load('10:02:00', 'open');
  await client.query(`drop type public.mood; create type public.mood as enum ('open', 'won', 'lost'); alter table public.legacy alter stage type public.mood using stage::public.mood`);
  await load('10:03:00', 'lost');
  expect(await rows('select stage, count(*)::int as n from public.legacy group by 1')).toEqual([{ stage: 'lost', n }]);
});

test('a table is read again by a connection that has no stage', async () => {
  const topic = await opened('');
  await topic.project(Array.from({ length: 60 }, (_, n) => topic.seen({ n, modified: '10:00:00', Stage: 'a' })));
  await topic.project(Array.from({ length: 60 }, (_, n) => topic.seen({ n, modified: '10:01:00', Stage: 'b' })));
  await client.query('alter table public.legacy add other text');
  const other = await db.pool.connect();
  try {
    expect(await topic.projection.readTable(other)).toBe(true);
  } finally {
    other.release(true);
  }
});
