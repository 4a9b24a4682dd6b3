import { createTestDatabase, type TestDatabase } from '@lockstep/local-stack';
import { defineModule, type FieldMapping, type ModuleDefinition } from '@lockstep/modules';
import { connect, type Database, migrate, referrers } from '@lockstep/postgres';
import pg, { type PoolClient } from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { adoptMapping, ModuleProjection } from './module-projection.ts';
import { EPSILON_MS, recordId, Topic } from './testing.ts';

const fields: readonly FieldMapping[] = [
  { field: 'Name', kind: 'text', column: 'name', type: 'text' },
  { field: 'Amount', kind: 'decimal', column: 'amount', type: 'numeric(16,2)' },
  { field: 'Account', kind: 'lookup', column: 'account', type: 'bigint', refersTo: 'Accounts' },
  { field: 'Signed', kind: 'datetime', column: 'signed', type: 'timestamptz' },
];
const module = (rest: Partial<ModuleDefinition> = {}): ModuleDefinition =>
  defineModule({ apiName: 'Deals', slug: 'deals', table: { schema: 'public', name: 'legacy' }, keyColumn: 'id', modifiedTimeColumn: 'modified', onDelete: { action: 'mark', deletedColumn: 'deleted' }, fields, ...rest });

const good = { id: 'bigint unique', modified: 'timestamptz', deleted: 'timestamptz', name: 'text', amount: 'numeric(16,2)', account: 'bigint', signed: 'timestamptz' };
const ddl = (columns: Record<string, string>): string => `drop table if exists public.legacy cascade; create table public.legacy (${Object.entries(columns).map(([name, type]) => `${name} ${type}`).join(', ')})`;

let testDatabase: TestDatabase;
let db: Database;
let client: PoolClient;
const role = `limited_${process.pid}`;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  const admin = new pg.Client({ connectionString: testDatabase.url });
  await admin.connect();
  await admin.query(`alter database ${new URL(testDatabase.url).pathname.slice(1)} set timezone = 'Europe/Berlin'`);
  await admin.query(`create type public.stage as enum ('Won', 'Lost'); create role ${role} login password 'p'`);
  await admin.end();
  db = await connect({ url: testDatabase.url, poolSize: 4 });
  await migrate(db, [module()]);
  client = await db.pool.connect();
});
afterAll(async () => {
  await client.query(`drop owned by ${role}; drop role ${role}`);
  client.release();
  await db.close();
  await testDatabase.drop();
});
beforeEach(() => client.query('truncate lockstep.record_version, lockstep.projection_offset, lockstep.parked, lockstep.mapping'));

const rows = async (sql: string): Promise<unknown[]> => (await client.query(sql)).rows;
const adopt = (definition = module(), on = db): Promise<void> => adoptMapping(on.pool, new ModuleProjection(definition, EPSILON_MS));

async function opened(columns: Record<string, string>, definition = module()): Promise<Topic> {
  await client.query(ddl(columns));
  const topic = new Topic(client, definition);
  await adoptMapping(db.pool, topic.projection);
  return topic;
}

describe('at the start', () => {
  test('every fault is named at once, with its remedy, and no mapping is adopted', async () => {
    await client.query(ddl({ ...good, id: 'integer', modified: 'date', deleted: 'timestamptz not null', name: 'text generated always as (\'x\') stored', amount: 'double precision', account: 'integer', signed: 'json', foreign_column: 'text not null' }));
    const message = await adopt().then(() => '', (error: Error) => error.message);
    expect(message.split('\n').slice(1)).toEqual([
      '- column id has no unique index of its own: create unique index concurrently on public.legacy (id), neither partial nor deferrable',
      '- column id is integer, which does not hold a CRM id: make it bigint, or a numeric or varchar of at least 19 digits',
      '- column modified is date, which does not hold an instant: make it timestamptz',
      '- column deleted may not be null, and is null for every living record: alter column deleted drop not null',
      '- column name is generated and takes no value: map another column',
      '- column amount is double precision, which keeps no decimal exactly: make it numeric, or let the mapping say onExcessScale \'round\'',
      '- column account is integer, which does not hold a CRM value of kind lookup unchanged: make it one of bigint, numeric, text, varchar, char, citext, or map another column',
      '- column signed is json, which does not hold a CRM value of kind datetime unchanged: make it one of timestamptz, timestamp, text, varchar, char, citext, or map another column',
      '- column foreign_column is not mapped, may not be null and has no default: give it a default, or drop not null',
    ]);
    expect(await rows('select from lockstep.mapping')).toEqual([]);
    await client.query('drop table public.legacy');
    await expect(adopt()).rejects.toMatchObject({ code: 'TABLE_UNFIT', message: expect.stringMatching(/table public\.legacy does not exist/) });
  });

  test.each([
    ['a column that is missing', ['alter table public.legacy rename column name to title'], /column name does not exist/],
    ['a key with a partial index', ['alter table public.legacy drop constraint legacy_id_key', 'create unique index on public.legacy (id) where deleted is null'], /column id has no unique index/],
    ['a key with a deferrable constraint', ['alter table public.legacy drop constraint legacy_id_key, add unique (id) deferrable'], /column id has no unique index/],
    ['a key with an index over more columns', ['alter table public.legacy drop constraint legacy_id_key, add unique (id, name)'], /column id has no unique index/],
    ['a key that is always generated', ['alter table public.legacy alter id set not null, alter id add generated always as identity'], /column id is an identity that is always generated/],
    ['a key that is too short', ['alter table public.legacy alter id type varchar(18)'], /column id is character varying\(18\), which does not hold a CRM id/],
    ['an array', ['alter table public.legacy alter name type text[] using null'], /column name is text\[\]/],
    ['money', ['alter table public.legacy alter amount type money'], /column amount is money/],
    ['a text in an integer', ['alter table public.legacy alter name type integer using null'], /column name is integer/],
    ['a time in a date', ['alter table public.legacy alter signed type date'], /column signed is date/],
    ['an id in a short numeric', ['alter table public.legacy alter account type numeric(18,0)'], /column account is numeric\(18,0\), and an id has up to 19 digits/],
    ['a domain that may not be null on a foreign column', ['create domain public.filled as text not null', 'alter table public.legacy add foreign_column public.filled'], /column foreign_column is not mapped/],
    ['a domain that refuses null on a foreign column', ['create domain public.filled as text check (value is not null)', 'alter table public.legacy add foreign_column public.filled'], /column foreign_column is null in each new row, and its domain refuses null/],
    ['a check that refuses null in a foreign column', ['alter table public.legacy add foreign_column text constraint needed check (foreign_column is not null)'], /check needed refuses null in what is null in each new row \(foreign_column\)/],
    ['a check that refuses null in the mark of a deletion', ['alter table public.legacy add constraint needed check (deleted is not null)'], /check needed refuses null in what is null in each new row \(deleted\)/],
    ['a publication of a table without a replica identity', ['create publication sends for table public.legacy'], /Postgres refuses to change any row: cannot update table "legacy" because it does not have a replica identity/],
    ['a publication with a filter over other columns than the replica identity', ['alter table public.legacy add primary key (id)', `create publication sends for table public.legacy where (name <> 'x')`], /Postgres refuses to change any row: cannot update table "legacy"; Column used in the publication WHERE/],
    ['a rule', ['create rule log as on insert to public.legacy do also select 1'], /rules on public\.legacy \(log\)/],
    ['tables that inherit', ['create table public.heir () inherits (public.legacy)'], /tables inherit from/],
  ])('%s is refused', async (_, changes, fault) => {
    await client.query(ddl(good));
    await client.query('begin');
    for (const change of changes) await client.query(change);
    await client.query('commit');
    await expect(adopt()).rejects.toMatchObject({ code: 'TABLE_UNFIT', message: expect.stringMatching(fault) });
    await client.query('drop domain if exists public.filled cascade; drop publication if exists sends');
  });

  test('a check that takes null, one that depends on ours, and a publication with a replica identity are taken', async () => {
    await opened({ ...good, foreign_column: `text check (foreign_column <> '')`, other: 'text check (other is not null or name is null)', kept: `text default 'x' check (kept is not null)` });
    await client.query('alter table public.legacy replica identity full; create publication sends for table public.legacy');
    await expect(adopt()).resolves.toBeUndefined();
    await client.query('drop publication sends');
  });

  test('a column that is not mapped, may not be null and has no default is left to a trigger, where there is one', async () => {
    await client.query(ddl({ ...good, foreign_column: 'text not null' }));
    await client.query(`create or replace function public.fill() returns trigger language plpgsql as $$ begin new.foreign_column := 'filled'; return new; end $$;
      create trigger fills before insert on public.legacy for each row execute function public.fill()`);
    const topic = new Topic(client, module());
    await adoptMapping(db.pool, topic.projection);
    await topic.project(many(topic, '10:00:00', { Name: 'A' }));
    await topic.project(many(topic, '10:05:00', { Name: 'B' }).slice(0, 1));
    expect(await rows('select name, foreign_column, count(*)::int as n from public.legacy group by 1, 2 order by 3')).toEqual([{ name: 'B', foreign_column: 'filled', n: 1 }, { name: 'A', foreign_column: 'filled', n: 59 }]);
  });

  test('a view is refused', async () => {
    await client.query(ddl(good));
    await client.query('create view public.seen as select * from public.legacy');
    await expect(adopt(module({ table: { schema: 'public', name: 'seen' } }))).rejects.toMatchObject({ code: 'TABLE_UNFIT', message: expect.stringMatching(/is no table that rows can be merged into/) });
  });

  test('row-level security and missing privileges are refused, for the user that they apply to', async () => {
    await client.query(ddl(good));
    await client.query(`alter table public.legacy enable row level security; revoke temporary on database ${new URL(testDatabase.url).pathname.slice(1)} from public;
      grant usage on schema public, lockstep to ${role}; grant all on all tables in schema lockstep to ${role}; grant select (id, modified, deleted, name), insert on public.legacy to ${role}; grant update (name) on public.legacy to ${role}`);
    await adopt();
    const url = new URL(testDatabase.url);
    [url.username, url.password] = [role, 'p'];
    const limited = await connect({ url: url.href, poolSize: 2 });
    const message = await adopt(module(), limited).then(() => '', (error: Error) => error.message);
    await limited.close();
    for (const fault of [/row-level security/, /grant temporary on database/, /grant select \(amount\)/, /grant update \(signed\)/]) expect(message).toMatch(fault);
    expect(message).not.toMatch(/grant update \(id\)|grant insert|\(name\)/);
  });

  test('a foreign key that would cascade is one fault among others', async () => {
    await client.query(ddl({ ...good, name: 'json' }));
    await client.query('create table public.child (of bigint references public.legacy (id) on delete set null)');
    await expect(adopt(module({ onDelete: { action: 'remove' } }))).rejects.toMatchObject({ code: 'TABLE_UNFIT', message: expect.stringMatching(/name is json[^]*public\.child|name is json[^]*child has a foreign key/) });
    await client.query('drop table public.child');
  });

  test('what works and may surprise is noted', async () => {
    const topic = await opened({ ...good, name: 'char(5) not null', signed: 'timestamp' });
    expect(topic.projection.notes).toEqual([
      'column name may not be null: a record without Name is kept aside',
      'column name is character(5): shorter texts are padded, and texts that end in blanks are kept aside',
      'column name is declared as text and is character(5): the table\'s type counts',
      'column signed has no time zone: it holds UTC',
      'column signed is declared as timestamptz and is timestamp without time zone: the table\'s type counts',
    ]);
  });

  test.each(['cascade', 'set null', 'set default'])('rows of others that follow a value of ours are noted (on update %s); those that follow the key never do', async (action) => {
    const topic = await opened({ ...good, name: 'text unique' });
    await client.query(`create table public.child (name text constraint of_name references public.legacy (name) on update ${action}, of bigint references public.legacy (id) on update ${action})`);
    await adoptMapping(db.pool, topic.projection);
    expect(topic.projection.notes).toEqual([`when the value of column name changes, so do rows of another table: of_name of child on update ${action}`]);
    await client.query('drop table public.child');
  });
});

const many = (topic: Topic, clock: string, values: Record<string, string>): ReturnType<Topic['seen']>[] => Array.from({ length: 60 }, (_, n) => topic.seen({ n, modified: clock, ...values }));

describe('sequences that ended wrong', () => {
  test('a timestamp without time zone in a database of Europe/Berlin holds UTC, after a load and after an edit of another field', async () => {
    const topic = await opened({ ...good, modified: 'timestamp', deleted: 'timestamp', signed: 'timestamp' });
    const row = (): Promise<unknown[]> => rows(`select name, signed::text, modified::text, deleted::text from public.legacy where id = ${recordId(1)}`);
    await topic.project(many(topic, '10:00:00', { Name: 'A', Signed: '2026-07-01T12:00:00Z' }));
    expect(await row()).toEqual([{ name: 'A', signed: '2026-07-01 12:00:00', modified: '2026-03-02 10:00:00', deleted: null }]);
    await topic.project([topic.seen({ n: 1, modified: '10:05:00', Name: 'B', Signed: '2026-07-01T12:00:00Z' })]);
    expect(await row()).toEqual([{ name: 'B', signed: '2026-07-01 12:00:00', modified: '2026-03-02 10:05:00', deleted: null }]);
    await topic.project([topic.deleted('11:00:00', 1)]);
    expect(await row()).toEqual([{ name: 'B', signed: '2026-07-01 12:00:00', modified: '2026-03-02 10:05:00', deleted: '2026-03-02 11:00:00' }]);
  });

  test.each(['mark', 'remove'] as const)('a text key, an enum and text lookups are loaded, edited, pointed to, and deleted (%s)', async (action) => {
    const definition = module(action === 'remove' ? { onDelete: { action } } : {});
    const topic = await opened({ ...good, id: 'varchar(30) unique', name: 'public.stage', account: 'varchar(20)' }, definition);
    await topic.project(many(topic, '10:00:00', { Name: 'Won', Account: recordId(9) }));
    await topic.project([topic.seen({ n: 1, modified: '10:05:00', Name: 'Lost', Account: recordId(8) })]);
    await topic.project([topic.deleted('11:00:00', 2)]);
    expect(await rows(`select id, name::text, account, deleted is null as alive from public.legacy where id in ('${recordId(1)}', '${recordId(2)}') order by id::bigint desc`)).toEqual([
      ...(action === 'mark' ? [{ id: recordId(2), name: 'Won', account: recordId(9), alive: false }] : []),
      { id: recordId(1), name: 'Lost', account: recordId(8), alive: true },
    ]);
    expect(await referrers(db, [definition]).to('Accounts', [recordId(8)])).toEqual([{ module: 'Deals', ids: [recordId(1)] }]);
    expect(await rows('select from lockstep.parked')).toEqual([]);
  });

  test.each([
    ['an index', 'create index on public.legacy (name)'],
    ['a generated tsvector', `alter table public.legacy add words tsvector generated always as (to_tsvector('simple', name)) stored`],
  ])('a text that is too long for %s is kept aside, and stops nothing else', async (__, change) => {
    const topic = await opened(good);
    await client.query(change);
    const tooLong = Array.from({ length: 120_000 }, (___, i) => `w${i}${Math.sin(i)}`).join(' ');
    await topic.project([...many(topic, '10:00:00', { Name: 'A' }), topic.seen({ n: 900, modified: '10:00:00', Name: tooLong })]);
    await topic.project([topic.seen({ n: 1, modified: '10:05:00', Name: tooLong }), topic.seen({ n: 2, modified: '10:05:00', Name: 'B' })]);
    expect(await rows('select name, count(*)::int as n from public.legacy group by 1 order by 1')).toEqual([{ name: 'A', n: 59 }, { name: 'B', n: 1 }]);
    expect(await rows('select record_id, code, retryable from lockstep.parked order by record_id')).toEqual([1, 900].map((n) => ({ record_id: recordId(n), code: '54000', retryable: false })));
  });

  test('a partitioned table is written like any other', async () => {
    await client.query(`${ddl({ ...good, id: 'bigint' })} partition by hash (id);
      create table public.legacy_0 partition of public.legacy for values with (modulus 2, remainder 0);
      create table public.legacy_1 partition of public.legacy for values with (modulus 2, remainder 1);
      alter table public.legacy add primary key (id)`);
    const topic = new Topic(client, module());
    await adoptMapping(db.pool, topic.projection);
    await topic.project(many(topic, '10:00:00', { Name: 'A' }));
    await topic.project(many(topic, '10:05:00', { Name: 'B' }));
    await topic.project([topic.seen({ n: 1, modified: '10:06:00', Name: 'C' }), topic.deleted('11:00:00', 2)]);
    expect(await rows('select name, deleted is null as alive, count(*)::int as n from public.legacy group by 1, 2 order by 3, 1')).toEqual([{ name: 'B', alive: false, n: 1 }, { name: 'C', alive: true, n: 1 }, { name: 'B', alive: true, n: 58 }]);
  });

  test('10.125 in numeric(16,2) is kept aside with its column; with the policy it is rounded', async () => {
    const topic = await opened(good);
    await topic.project([...many(topic, '10:00:00', { Amount: '10.12' }), topic.seen({ n: 1, modified: '10:05:00', Amount: '10.125' })]);
    expect(await rows(`select amount::text from public.legacy where id = ${recordId(1)}`)).toEqual([{ amount: '10.12' }]);
    expect(await rows('select record_id, code, cause from lockstep.parked')).toEqual([{ record_id: recordId(1), code: 'VALUE_NOT_EXACT', cause: 'amount: the column would hold another value than the CRM\'s' }]);
    const rounding = await opened(good, module({ fields: fields.map((field) => (field.field === 'Amount' ? { ...field, onExcessScale: 'round' } : field)) }));
    await client.query('truncate lockstep.record_version');
    await rounding.project([rounding.seen({ n: 1, modified: '10:05:00', Amount: '10.125' })]);
    expect(await rows('select amount::text from public.legacy')).toEqual([{ amount: '10.13' }]);
  });

  test('a batch that is halved writes the same bytes as a whole one', async () => {
    const written = async (isHalved: boolean): Promise<unknown[]> => {
      const topic = await opened({ ...good, signed: 'timestamp', name: 'char(8)' });
      await client.query('truncate lockstep.record_version');
      await topic.project([...many(topic, '10:00:00', { Name: 'A', Amount: '1.5', Signed: '2026-07-01T12:00:00Z' }), ...(isHalved ? [topic.seen({ n: 900, modified: '10:00:00', Amount: 'x' })] : [])]);
      return rows('select t::text from public.legacy t order by id');
    };
    expect(await written(true)).toEqual(await written(false));
  });

  test('an edit that differs only for a type that ignores case or blanks is written', async () => {
    await client.query('create extension if not exists citext');
    const topic = await opened({ ...good, name: 'citext' });
    await topic.project([topic.seen({ modified: '10:00:00', Name: 'acme' })]);
    await client.query(`update public.legacy set modified = '2026-03-02T10:05:00Z'`);
    await topic.project([topic.seen({ modified: '10:05:00', Name: 'ACME' })]);
    expect(await rows('select name::text from public.legacy')).toEqual([{ name: 'ACME' }]);
  });
});

describe.each([['a small batch', 1], ['a large batch', 60]])('a table that is changed between two batches, before %s', (_, count) => {
  let topic: Topic;
  const batch = (clock: string, values: Record<string, string> = {}): ReturnType<Topic['seen']>[] => many(topic, clock, { Name: 'A', Amount: '10.12', ...values }).slice(0, count);
  const first = (column: string): Promise<unknown[]> => rows(`select ${column}::text as value from public.legacy where id = ${recordId(0)}`);
  beforeEach(async () => {
    topic = await opened(good);
    await topic.project(batch('09:00:00'));
    await topic.project(batch('09:01:00', { Name: 'B' }));
  });

  test.each([
    ['a narrower scale', 'alter column amount type numeric(16,1)', 'amount', '10.1', '10.12'],
    ['another type', 'alter column signed type timestamp', 'signed', '2026-07-01 12:00:00', null],
    ['a longer text', 'alter column name type varchar(300)', 'name', 'A', null],
  ])('%s counts at once', async (__, change, column, value, parkedAt) => {
    await client.query(`alter table public.legacy ${change}`);
    await topic.project(batch('10:00:00', { Signed: '2026-07-01T12:00:00Z' }));
    const isParked = (await rows('select from lockstep.parked')).length > 0;
    expect(isParked).toBe(parkedAt !== null);
    expect(await first(column)).toEqual([{ value }]);
  });

  test.each([
    ['a dropped column', 'drop column amount', 'add column amount numeric(16,2)', /column amount does not exist/],
    ['a renamed column', 'rename column name to title', 'rename column title to name', /column name does not exist/],
    ['a new column that may not be null', 'add column foreign_column text not null default \'x\'; alter table public.legacy alter column foreign_column drop default', 'drop column foreign_column', /column foreign_column is not mapped/],
    ['a dropped index', 'drop constraint legacy_id_key', 'add unique (id)', /column id has no unique index/],
  ])('%s stops it with nothing written or kept aside, until it is changed back', async (__, change, back, fault) => {
    await client.query(`alter table public.legacy ${change}`);
    const messages = batch('10:00:00', { Name: 'C' });
    await expect(topic.project(messages)).rejects.toMatchObject({ code: 'TABLE_UNFIT', message: expect.stringMatching(fault) });
    expect(await rows('select from lockstep.parked')).toEqual([]);
    await client.query(`alter table public.legacy ${back}`);
    await topic.project(messages);
    expect(await first('name')).toEqual([{ value: 'C' }]);
  });
});
