import { createTestDatabase, type TestDatabase } from '@lockstep/local-stack';
import { defineModule, type FieldMapping, type ModuleDefinition } from '@lockstep/modules';
import { connect, type Database, migrate } from '@lockstep/postgres';
import { coverage, encodeCoverage, encodeSeen } from '@lockstep/record-log';
import { type PoolClient } from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { adoptMapping } from './module-projection.ts';
import { retryParked } from './retry-parked.ts';
import { at, recordId, Topic } from './testing.ts';

const name: FieldMapping = { field: 'Name', kind: 'text', column: 'name', type: 'text' };
const amount: FieldMapping = { field: 'Amount', kind: 'decimal', column: 'amount', type: 'numeric(16,2)', onExcessScale: 'round' };
const code: FieldMapping = { field: 'Code', kind: 'text', column: 'code', type: 'char(5)' };
const module = (rest: Partial<ModuleDefinition> = {}): ModuleDefinition =>
  defineModule({ apiName: 'Deals', slug: 'deals', table: { schema: 'public', name: 'legacy' }, keyColumn: 'id', modifiedTimeColumn: 'modified', onDelete: { action: 'mark', deletedColumn: 'deleted' }, fields: [name, amount, code], ...rest });

let testDatabase: TestDatabase;
let db: Database;
let client: PoolClient;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  db = await connect({ url: testDatabase.url, poolSize: 4 });
  await migrate(db, [module()]);
  client = await db.pool.connect();
});
afterAll(async () => {
  client.release();
  await db.close();
  await testDatabase.drop();
});
beforeEach(() => client.query('truncate lockstep.record_version, lockstep.projection_offset, lockstep.parked, lockstep.mapping'));

const rows = async (sql: string): Promise<unknown[]> => (await client.query(sql)).rows;
const columns = `id bigint unique, modified timestamptz, deleted timestamptz, name text, amount numeric(16,2), code char(5), foreign_column text`;
const trigger = (body: string, when: string, table = 'public.legacy'): string =>
  `create or replace function public.act() returns trigger language plpgsql as $$ begin ${body} return new; end $$; create trigger acts ${when} on ${table} for each row execute function public.act()`;

const deferred = (body: string): string => trigger(body, 'after insert or update').replace(/create trigger (.*) for each row/, 'create constraint trigger $1 deferrable initially deferred for each row');

async function opened(setup: string, { definition = module(), table = `create table public.legacy (${columns})` } = {}): Promise<Topic> {
  await client.query(`drop table if exists public.legacy cascade; ${table}; ${setup}`);
  const topic = new Topic(client, definition);
  await adoptMapping(db.pool, topic.projection);
  return topic;
}

const others = (topic: Topic, clock: string): ReturnType<Topic['seen']>[] => Array.from({ length: 60 }, (_, n) => topic.seen({ n: 100 + n, modified: clock, Name: 'OTHER' }));
const values = { Name: 'abc', Amount: '10.125', Code: 'a' };
const paths = ['copy', 'arrays', 'stage', 'edited'] as const;

/** Writes one record by a path, beside others that fit. */
async function write(topic: Topic, path: (typeof paths)[number]): Promise<void> {
  if (path === 'edited') await topic.project([topic.seen({ modified: '09:00:00' })]);
  if (path === 'stage') await topic.project([...others(topic, '09:00:00'), topic.seen({ modified: '09:00:00' })]);
  await topic.project([...(path === 'copy' || path === 'stage' ? others(topic, '10:00:00') : []), topic.seen({ modified: '10:00:00', ...values })]);
}
const row = (): Promise<unknown[]> => rows(`select name, amount::text, code, foreign_column from public.legacy where id = ${recordId(1)} and name is not null`);
const parked = (): Promise<unknown[]> => rows('select record_id, code, cause from lockstep.parked where resolved_at is null');
const aside = (column: string): unknown[] => [{ record_id: recordId(1), code: 'VALUE_NOT_EXACT', cause: `${column}: a trigger of the table changed the value, or kept the row from being written` }];
const partitioned = `create table public.legacy (${columns}) partition by hash (id); create table public.legacy_0 partition of public.legacy for values with (modulus 1, remainder 0)`;

describe.each(paths)('a row that is written by the path "%s"', (path) => {
  test.each([
    ['is changed before it is written', trigger('new.name := upper(new.name);', 'before insert or update'), 'name'],
    ['is changed after it was written', trigger('update public.legacy set amount = 0 where id = new.id and amount > 0;', 'after insert or update'), 'amount'],
    ['is changed at the end of the transaction', deferred('update public.legacy set amount = 0 where id = new.id and amount > 0;'), 'amount'],
    ['is left out', trigger(`if new.name = 'abc' then return null; end if;`, 'before insert or update'), path === 'stage' || path === 'edited' ? 'modified' : 'id'],
    ['gets another time', trigger(`if new.name = 'abc' then new.modified := now(); end if;`, 'before insert or update'), 'modified'],
  ])('is kept aside where by a trigger it %s; others stand', async (_, setup, column) => {
    const topic = await opened(setup);
    await write(topic, path);
    expect(await parked()).toEqual(aside(column));
    expect(await row()).toEqual([]);
    expect(await rows(`select count(*)::int as n from public.legacy where name = 'OTHER'`)).toEqual([{ n: path === 'copy' || path === 'stage' ? 60 : 0 }]);
  });

  test('is kept aside where a trigger of a partition changes it', async () => {
    const topic = await opened(trigger('new.name := upper(new.name);', 'before insert or update', 'public.legacy_0'), { table: partitioned });
    await write(topic, path);
    expect(await parked()).toEqual(aside('name'));
  });

  test('stands as a trigger made it where the mapping accepts that', async () => {
    const topic = await opened(trigger('new.name := upper(new.name);', 'before insert or update'), { definition: module({ fields: [{ ...name, onTriggerChange: 'accept' }, amount, code] }) });
    await write(topic, path);
    expect(await parked()).toEqual([]);
    expect(await row()).toEqual([{ name: 'ABC', amount: '10.13', code: 'a    ', foreign_column: null }]);
  });

  test('is written where triggers change columns that are not ours', async () => {
    const topic = await opened(`${trigger(`new.foreign_column := 'x';`, 'before insert')}; create trigger touches after insert or update or delete on public.legacy for each row execute function public.act()`);
    await write(topic, path);
    expect(await parked()).toEqual([]);
    expect(await row()).toEqual([{ name: 'abc', amount: '10.13', code: 'a    ', foreign_column: 'x' }]);
  });

  test('waits where a trigger raises an exception, and is written once it no longer does', async () => {
    const topic = await opened(trigger(`if new.name = 'abc' then raise exception 'no abc'; end if;`, 'before insert or update'));
    await write(topic, path);
    expect(await parked()).toEqual([{ record_id: recordId(1), code: 'P0001', cause: 'no abc' }]);
    await client.query(`drop trigger acts on public.legacy; update lockstep.parked set tried_at = now() - interval '1 hour'`);
    await retryParked(client, topic.projection);
    expect(await parked()).toEqual([]);
    expect(await row()).toEqual([{ name: 'abc', amount: '10.13', code: 'a    ', foreign_column: null }]);
  });
});

test('a trigger that may be deferred, and is so in a retry only, is compared there too', async () => {
  const topic = await opened(`${deferred(`update public.legacy set name = 'changed' where id = new.id and name = 'abc';`).replace('initially deferred', 'initially immediate')};
    create unique index one_amount on public.legacy (amount); insert into public.legacy (id, amount) values (5, 10.13)`);
  await topic.project([topic.seen({ modified: '10:00:00', ...values })]);
  expect(await parked()).toMatchObject([{ code: '23505' }]);
  await client.query(`delete from public.legacy; update lockstep.parked set tried_at = now() - interval '1 hour'`);
  await retryParked(client, topic.projection);
  expect(await parked()).toEqual(aside('name'));
});

test('a deferred trigger sees all that its batch has written', async () => {
  const topic = await opened(deferred(`if new.name is not null and not exists (select from public.legacy where code = new.name) then raise exception 'no row'; end if;`));
  const covered = coverage(['Name', 'Code']);
  await topic.project([topic.message(encodeCoverage({ coverage: covered.id, fields: covered.fields }))]);
  await topic.project([topic.seen({ modified: '10:00:00', Name: 'b', Code: 'a' }), topic.message(encodeSeen({ id: recordId(2), modifiedMs: at('10:00:00'), observedMs: at('10:00:00'), coverage: covered.id, fields: ['a', 'b'] }).value)]);
  expect(await parked()).toEqual([]);
});

test.each([['a table', `create table public.legacy (${columns})`, 'legacy'], ['a partition', partitioned, 'legacy_0']])('a trigger that %s gets between two batches counts from the next one on', async (_, table, on) => {
  const topic = await opened('', { table });
  await topic.project([topic.seen({ modified: '09:00:00', Name: 'old' })]);
  await client.query(trigger('new.name := upper(new.name);', 'before insert or update', `public.${on}`));
  await topic.project([topic.seen({ modified: '10:00:00', ...values })]);
  expect(await parked()).toEqual(aside('name'));
  expect(await rows('select name from public.legacy')).toEqual([{ name: 'old' }]);
});

test.each(['mark', 'remove'] as const)('a deletion that a trigger ignores is kept aside (%s)', async (action) => {
  const setup = `create or replace function public.ignore() returns trigger language plpgsql as $$ begin return null; end $$;
    create trigger ignores before ${action === 'mark' ? 'update' : 'delete'} on public.legacy for each row execute function public.ignore()`;
  const topic = await opened(setup, { definition: module(action === 'remove' ? { onDelete: { action } } : {}) });
  await topic.project([topic.seen({ modified: '10:00:00', ...values })]);
  await topic.project([topic.deleted('11:00:00')]);
  expect(await parked()).toEqual(aside(action === 'mark' ? 'deleted' : 'id'));
});
