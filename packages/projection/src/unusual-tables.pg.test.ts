import { createTestDatabase, type TestDatabase } from '@lockstep/local-stack';
import { defineModule, type FieldMapping, type ModuleDefinition } from '@lockstep/modules';
import { connect, type Database, migrate } from '@lockstep/postgres';
import { coverage, encodeCoverage, encodeSeen } from '@lockstep/record-log';
import type { PoolClient } from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import type { LogMessage } from './fold-batch.ts';
import { adoptMapping } from './module-projection.ts';
import { retryParked } from './retry-parked.ts';
import { at, recordId, Topic } from './testing.ts';
import { readConstraints } from './unique-indexes.ts';

/* Tables that are legal and unusual: each was seen to stop a partition, to lose a value, or to touch what belongs to others. */

const stage: FieldMapping = { field: 'Stage', kind: 'text', column: 'stage', type: 'text' };
const number: FieldMapping = { field: 'Number', kind: 'text', column: 'number', type: 'text' };
const definition = (rest: Partial<ModuleDefinition> = {}): ModuleDefinition =>
  defineModule({ apiName: 'Deals', slug: 'deals', table: { schema: 'public', name: 'legacy' }, keyColumn: 'id', modifiedTimeColumn: 'modified', onDelete: { action: 'mark', deletedColumn: 'deleted' }, fields: [stage, number], ...rest });

let testDatabase: TestDatabase;
let db: Database;
let client: PoolClient;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  db = await connect({ url: testDatabase.url, poolSize: 4 });
  await migrate(db, [definition()]);
  client = await db.pool.connect();
});
afterAll(async () => {
  client.release();
  await db.close();
  await testDatabase.drop();
});
beforeEach(() => client.query('truncate lockstep.record_version, lockstep.projection_offset, lockstep.parked, lockstep.mapping, lockstep.coverage'));

const rows = async (sql: string): Promise<unknown[]> => (await client.query(sql)).rows;
const standard = 'create table public.legacy (id bigint unique, modified timestamptz, deleted timestamptz, stage text, number text)';

async function opened(setup: string, { module = definition(), table = standard } = {}): Promise<Topic> {
  await client.query(`drop table if exists public.legacy, public.orders cascade; drop sequence if exists public.numbers; ${table}; ${setup}`);
  const topic = new Topic(client, module);
  await adoptMapping(db.pool, topic.projection);
  return topic;
}

const raising = (errcode: string, when = "new.stage = 'bad'"): string =>
  `create or replace function public.act() returns trigger language plpgsql as $$ begin if ${when} then raise 'not now' using errcode = '${errcode}'; end if; return new; end $$;
   create trigger acts before insert or update on public.legacy for each row execute function public.act()`;

const due = (): Promise<unknown> => client.query(`update lockstep.parked set tried_at = now() - interval '1 hour'`);
const retry = async (topic: Topic) => {
  await due();
  return await retryParked(client, topic.projection);
};
const open = (): Promise<unknown[]> => rows('select code, record_id, retryable from lockstep.parked where resolved_at is null order by id');
const stages = async (): Promise<unknown[]> => (await rows('select stage from public.legacy order by id')).map((row) => (row as { stage: unknown }).stage);

describe('what a function of the table raises', () => {
  test.each(['P0002', 'P0004', '21000', '45000', 'ZX001', '42501', '55000', '22023', '23514', '53100', '08006', '40001'])('with SQLSTATE %s keeps its record waiting, and no other', async (errcode) => {
    const topic = await opened(raising(errcode));
    await topic.project([topic.seen({ n: 1, modified: '10:00:00', Stage: 'good' }), topic.seen({ n: 2, modified: '10:00:00', Stage: 'bad' }), topic.seen({ n: 3, modified: '10:00:00', Stage: 'good' })]);
    expect(await stages()).toEqual(['good', 'good']);
    expect(await open()).toEqual([{ code: 'P0001', record_id: recordId(2), retryable: true }]);
    expect(await retry(topic)).toMatchObject({ waiting: 1 });
    await client.query('drop trigger acts on public.legacy');
    expect(await retry(topic)).toEqual({ resolved: 1, waiting: 0 });
    expect(await stages()).toEqual(['good', 'bad', 'good']);
  });

  test('without RAISE, by a statement that may not stand in it, keeps its record waiting, and no other', async () => {
    const topic = await opened(raising('P0001').replace(/raise[^;]*;/, `execute 'vacuum';`));
    await topic.project([topic.seen({ n: 1, modified: '10:00:00', Stage: 'good' }), topic.seen({ n: 2, modified: '10:00:00', Stage: 'bad' }), topic.seen({ n: 3, modified: '10:00:00', Stage: 'good' })]);
    expect([await stages(), await open()]).toEqual([['good', 'good'], [{ code: 'P0001', record_id: recordId(2), retryable: true }]]);
  });

  test('with a state that is otherwise retried keeps no other record from its retry', async () => {
    const topic = await opened(`${raising('55000')}; alter table public.legacy add unique (number)`);
    await topic.project([topic.seen({ n: 1, modified: '10:00:00', Stage: 'a', Number: 'x' }), topic.seen({ n: 2, modified: '10:00:00', Stage: 'bad' }), topic.seen({ n: 3, modified: '10:00:00', Stage: 'c', Number: 'x' })]);
    await topic.project([topic.seen({ n: 1, modified: '10:05:00', Stage: 'a', Number: 'y' })]);
    expect(await retry(topic)).toEqual({ resolved: 1, waiting: 1 });
    expect(await rows('select number from public.legacy order by id')).toEqual([{ number: 'y' }, { number: 'x' }]);
  });
});

test.each([
  ['nested too deep for a type that parses it', 'alter table public.legacy add g jsonb generated always as (number::jsonb) stored', '['.repeat(30_000)],
  ['no syntax of a type that parses it', 'alter table public.legacy add check (number is null or number::tsquery is not null)', 'a b'],
  ['no name of what an expression of the table looks up', 'alter table public.legacy add check (number is null or number::regconfig is not null)', 'klingon'],
])('a value that is %s is parked alone', async (_, setup, value) => {
  const topic = await opened(setup);
  await topic.project([topic.seen({ n: 1, modified: '10:00:00', Stage: 'good' }), topic.seen({ n: 2, modified: '10:00:00', Stage: 'bad', Number: value }), topic.seen({ n: 3, modified: '10:00:00', Stage: 'good' })]);
  expect(await stages()).toEqual(['good', 'good']);
  expect(await open()).toHaveLength(1);
});

describe('a table that changes while something waits', () => {
  test('by a foreign key that cascades: the removal is not carried out', async () => {
    const module = definition({ onDelete: { action: 'remove' } });
    const topic = await opened('create table public.orders (c bigint, constraint fk foreign key (c) references public.legacy (id))', { module });
    await topic.project([topic.seen({ n: 1, modified: '10:00:00', Stage: 'a' })]);
    await client.query('insert into public.orders values ($1)', [recordId(1)]);
    await topic.project([topic.deleted('10:30:00')]);
    await client.query('alter table public.orders drop constraint fk; alter table public.orders add constraint fk foreign key (c) references public.legacy (id) on delete set null');
    await due();
    await expect(retryParked(client, topic.projection)).rejects.toMatchObject({ code: 'CASCADING_FOREIGN_KEY' });
    expect(await rows('select c from public.orders')).toEqual([{ c: recordId(1) }]);
  });

  test('by a trigger that drops the write: the mark of the deletion still waits', async () => {
    const topic = await opened(raising('P0001', 'new.deleted is not null'));
    await topic.project([topic.seen({ n: 1, modified: '10:00:00', Stage: 'a' }), topic.deleted('10:30:00')]);
    await client.query('create or replace function public.drops() returns trigger language plpgsql as $$ begin return null; end $$; drop trigger acts on public.legacy; create trigger acts before update on public.legacy for each row execute function public.drops()');
    await retry(topic);
    expect(await rows('select from public.legacy where deleted is not null')).toEqual([]);
    expect(await rows('select from lockstep.parked where resolved_at is null')).toHaveLength(1);
  });
});

test.each(['cascade', 'set null'])('a foreign key to a partition, on delete %s, is seen before the first removal', async (action) => {
  const module = definition({ onDelete: { action: 'remove' } });
  const table = `create table public.legacy (id bigint unique, modified timestamptz, deleted timestamptz, stage text, number text) partition by hash (id); create table public.legacy_0 partition of public.legacy for values with (modulus 1, remainder 0)`;
  await expect(opened(`create table public.orders (c bigint references public.legacy_0 (id) on delete ${action})`, { module, table })).rejects.toMatchObject({ code: 'CASCADING_FOREIGN_KEY' });
});

test('constraints that are not enforced count for nothing', async () => {
  const module = definition({ onDelete: { action: 'remove' } });
  const topic = await opened(`create table public.orders (c bigint references public.legacy (id) on delete cascade not enforced); alter table public.legacy add approved_by text, add check (approved_by is not null) not enforced`, { module });
  expect([topic.projection.table.cascades, topic.projection.table.foreignChecks]).toEqual([[], []]);
  await topic.project([topic.seen({ n: 1, modified: '10:00:00', Stage: 'a' })]);
  await client.query('insert into public.orders values ($1)', [recordId(1)]);
  await topic.project([topic.deleted('10:30:00')]);
  expect(await rows('select c from public.orders')).toEqual([{ c: recordId(1) }]);
  expect(await stages()).toEqual([]);
});

test('a key with a deferrable constraint beside a plain index is written by edits as well', async () => {
  const topic = await opened('create unique index on public.legacy (id)', { table: 'create table public.legacy (id bigint primary key deferrable, modified timestamptz, deleted timestamptz, stage text, number text)' });
  await topic.project([topic.seen({ n: 1, modified: '10:00:00', Stage: 'a' })]);
  await topic.project([topic.seen({ n: 1, modified: '10:05:00', Stage: 'b' }), topic.seen({ n: 2, modified: '10:05:00', Stage: 'c' })]);
  expect(await stages()).toEqual(['b', 'c']);
});

test('a column that is computed from one of theirs is computed from the row that stands', async () => {
  const topic = await opened(`alter table public.legacy add done integer default 0; alter table public.legacy add g integer generated always as (case when stage = 'won' then 100 / done end) stored`);
  await topic.project([topic.seen({ n: 1, modified: '10:00:00', Stage: 'open' })]);
  await client.query('update public.legacy set done = 5');
  await topic.project([topic.seen({ n: 1, modified: '10:05:00', Stage: 'won' })]);
  expect(await rows('select stage, g from public.legacy')).toEqual([{ stage: 'won', g: 20 }]);
  expect(await open()).toEqual([]);
});

test.each([
  ['a sequence', `create sequence public.numbers maxvalue 2; alter table public.legacy add no smallint default nextval('public.numbers')`],
  ['an identity', 'alter table public.legacy add no integer generated by default as identity (maxvalue 2)'],
])('edits take no number of %s', async (_, setup) => {
  const topic = await opened(setup);
  await topic.project([topic.seen({ n: 1, modified: '10:00:00', Stage: 'a' })]);
  for (let minute = 1; minute < 6; minute += 1) await topic.project([topic.seen({ n: 1, modified: `10:0${minute}:00`, Stage: `b${minute}` })]);
  expect(await rows('select stage, no from public.legacy')).toEqual([{ stage: 'b5', no: 1 }]);
});

test.each([['varchar(5)', 'yes       '], ['char(8)', 'no  '], ['text', 'maybe']])('a boolean that is neither true nor false is kept aside where its column is a %s', async (type, value) => {
  const module = definition({ fields: [stage, { field: 'Flag', kind: 'boolean', column: 'flag', type: 'text' }] });
  const topic = await opened(`alter table public.legacy add flag ${type}`, { module });
  await topic.project([topic.seen({ n: 1, modified: '10:00:00', Stage: 'a', Flag: value })]);
  expect(await open()).toMatchObject([{ code: 'VALUE_NOT_EXACT' }]);
});

test('a column to which others refer by way of a partition is not to be emptied', async () => {
  const topic = await opened(
    `create table public.legacy_0 (number text, stage text, deleted timestamptz, modified timestamptz, id bigint not null);
     alter table public.legacy attach partition public.legacy_0 for values with (modulus 1, remainder 0);
     create table public.orders (legacy_id bigint, number text, foreign key (legacy_id, number) references public.legacy_0 (id, number) on update set null)`,
    { table: 'create table public.legacy (id bigint unique, modified timestamptz, deleted timestamptz, stage text, number text, constraint one_number unique (id, number), constraint one_stage unique (id, stage)) partition by hash (id)' },
  );
  const { uniqueIndexes } = await readConstraints(client, topic.projection.module);
  expect([uniqueIndexes.get('one_number')?.releasable, uniqueIndexes.get('one_stage')?.releasable]).toEqual([[], ['stage']]);
});

test('a numeric key that shows digits after the point is refused, with the remedy', async () => {
  await expect(opened('', { table: standard.replace('id bigint unique', 'id numeric(25,2) unique') })).rejects.toThrow(/numeric\(25,2\).*bigint/);
});

test.each([1, 60])('bytes that are not UTF-8 are parked, in a batch of %i', async (n) => {
  const topic = await opened('');
  const broken = (one: LogMessage): LogMessage => ({ ...one, value: Buffer.from(String(one.value).replace('BROKEN', '\u00FF'), 'latin1') });
  await topic.project([...Array.from({ length: n - 1 }, (_, i) => topic.seen({ n: i + 2, modified: '10:00:00', Stage: 'good' })), broken(topic.seen({ n: 1, modified: '10:00:00', Stage: 'BROKEN' }))]);
  expect(await open()).toHaveLength(1);
  expect(await rows('select from public.legacy')).toHaveLength(n - 1);
});

test('a content whose fields are mapped no more stops nothing, in a batch or in a retry', async () => {
  const small = coverage(['Stage']);
  const topic = await opened(raising('P0001'));
  const content = encodeSeen({ id: recordId(1), modifiedMs: at('10:00:00'), observedMs: at('10:00:00'), coverage: small.id, fields: ['bad'] }).value;
  await topic.project([topic.message(encodeCoverage({ coverage: small.id, fields: small.fields })), topic.message(content)]);
  expect(await open()).toHaveLength(1);
  await client.query('drop trigger acts on public.legacy');
  const later = new Topic(client, definition({ fields: [number] }));
  await adoptMapping(db.pool, later.projection);
  await client.query(`update lockstep.parked set topic_id = $1`, [later.topicId]);
  expect(await retry(later)).toEqual({ resolved: 1, waiting: 0 });
  await later.project([later.message(encodeSeen({ id: recordId(2), modifiedMs: at('10:00:00'), observedMs: at('10:00:00'), coverage: small.id, fields: ['x'] }).value)]);
  expect(await rows('select id, stage from public.legacy order by id')).toEqual([{ id: recordId(1), stage: null }, { id: recordId(2), stage: null }]);
});

test.each([
  ['lets a column not be null that is not mapped', '(note not null)', /column note is not mapped, may not be null and has no default/],
  ['lets the mark of a deletion not be null', '(deleted not null)', /column deleted may not be null, and is null for every living record/],
  ['has a check of its own that refuses null', '(constraint noted check (note is not null))', /check noted refuses null in what is null in each new row \(note\)/],
])('a partition that %s is seen before the first write', async (_, own, fault) => {
  // Of another order than the columns of the table.
  const table = `create table public.legacy (id bigint unique, modified timestamptz, deleted timestamptz, stage text, number text, gone text, note text, constraint kept check (note is null or note <> '')) partition by range (id); alter table public.legacy drop column gone`;
  const parts = `create table public.legacy_0 partition of public.legacy for values from (minvalue) to (1000000); create table public.legacy_1 partition of public.legacy ${own} default`;
  await expect(opened(parts, { table })).rejects.toMatchObject({ code: 'TABLE_UNFIT', message: expect.stringMatching(fault) });
});

test('an event trigger that lets no temporary table be made is seen before the first write', async () => {
  await opened('');
  await client.query(`create or replace function public.no_ddl() returns event_trigger language plpgsql as $$ begin raise 'not by you'; end $$; create event trigger no_ddl on ddl_command_start execute function public.no_ddl()`);
  const refused = await adoptMapping(db.pool, new Topic(client, definition()).projection).catch((error: unknown) => error);
  await client.query('drop event trigger no_ddl');
  expect(refused).toMatchObject({ code: 'TABLE_UNFIT', message: expect.stringMatching(/no temporary table can be made, and rows are staged in one: not by you/) });
});
