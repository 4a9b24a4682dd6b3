import { createTestDatabase, type TestDatabase } from '@lockstep/local-stack';
import { defineModule, type ModuleDefinition } from '@lockstep/modules';
import { connect, type Database, migrate, readFreshness, wantedLooks } from '@lockstep/postgres';
import type { PoolClient } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import type { LogMessage } from './fold-batch.ts';
import { adoptMapping } from './module-projection.ts';
import { type Retried, retryParked } from './retry-parked.ts';
import { recordId, Topic } from './testing.ts';

/** Rows that fit only together, wherever they wait; and messages of one record that are not to be tried one without the other. */
const mapping = {
  table: { schema: 'public', name: 'contacts' },
  keyColumn: 'crm_id',
  modifiedTimeColumn: 'modified_time',
  fields: [
    { field: 'Name', kind: 'text', column: 'name', type: 'text' },
    { field: 'Code', kind: 'text', column: 'code', type: 'text' },
    { field: 'Zone', kind: 'text', column: 'zone', type: 'text' },
    { field: 'Amount', kind: 'decimal', column: 'amount', type: 'numeric(10,2)' },
    { field: 'Partner', kind: 'lookup', column: 'partner_id', type: 'bigint' },
  ],
} as const satisfies Partial<ModuleDefinition>;
const marked = defineModule({ ...mapping, apiName: 'Marked', slug: 'marked', onDelete: { action: 'mark', deletedColumn: 'deleted_at' } });
const removed = defineModule({ ...mapping, apiName: 'Removed', slug: 'removed', onDelete: { action: 'remove' } });

let testDatabase: TestDatabase;
let db: Database;
let client: PoolClient;
let topic: Topic;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  db = await connect({ url: testDatabase.url, poolSize: 4 });
  await migrate(db, [marked, removed]);
  client = await db.pool.connect();
});
afterAll(async () => {
  client.release();
  await db.close();
  await testDatabase.drop();
});

async function given(ddl: string, module = marked): Promise<void> {
  await client.query(`
    drop table if exists public.visits, public.contacts, public.regions cascade;
    truncate lockstep.record_version, lockstep.projection_offset, lockstep.parked;
    create table public.regions (id bigint primary key);
    create table public.contacts (
      id serial primary key, crm_id bigint unique, modified_time timestamptz, deleted_at timestamptz, name text, code text, zone text, amount numeric(10,2), partner_id bigint, note text);
    create table public.visits (id serial primary key, contact_id bigint references public.contacts (crm_id));
    ${ddl}`);
  topic = new Topic(client, module);
  await adoptMapping(db.pool, topic.projection);
}

type Values = { observed?: string; Name?: string; Code?: string; Zone?: string; Amount?: string; Partner?: string };
const seen = (n: number, modified: string, values: Values = {}): LogMessage => topic.seen({ n, modified, Name: `Contact ${n}`, ...values });
/** Messages, each in a batch of its own. @returns how many wait. */
async function project(...messages: readonly LogMessage[]): Promise<number> {
  let waiting = 0;
  for (const message of messages) waiting += (await topic.project([message])).waiting;
  return waiting;
}
async function retry(options: Parameters<typeof retryParked>[2] = {}): Promise<Retried> {
  await client.query(`update lockstep.parked set tried_at = tried_at - interval '1 hour'`);
  return retryParked(client, topic.projection, options);
}
const rows = async (sql: string): Promise<unknown[]> => (await client.query(sql)).rows;
const column = async (name: string): Promise<unknown[]> => (await rows(`select ${name} as value from public.contacts order by crm_id`)).map((row) => (row as { value: unknown }).value);
const open = () => rows('select right(record_id, 2)::int as n, code from lockstep.parked where resolved_at is null order by id');
const parked = async (): Promise<unknown> => (await readFreshness(db)).find((one) => one.module === topic.projection.module.apiName)?.parked;
const overtake = (): Promise<void> => wantedLooks(db).resolveOvertaken();
const ofPartner = (rest = ''): string => `alter table public.contacts add constraint of_partner foreign key (partner_id) references public.contacts (crm_id) ${rest};`;
const ofRegion = 'alter table public.contacts add constraint of_region foreign key (partner_id) references public.regions (id);';
const partners = (length: number): LogMessage[] => Array.from({ length }, (_, i) => seen(i + 1, '10:00:00', { Partner: recordId(((i + 1) % length) + 1) }));

describe('new rows that point to each other in a ring', () => {
  test.each([2, 3, 120])('%i of them, each in a batch of its own, fit together', async (length) => {
    await given(ofPartner());
    expect(await project(...partners(length))).toBe(length);
    expect(await retry()).toEqual({ resolved: length, waiting: 0 });
    expect(await rows('select count(*)::int as n, count(p.id)::int as partners from public.contacts c left join public.contacts p on p.crm_id = c.partner_id')).toEqual([{ n: length, partners: length }]);
  });

  test('and were parted by a row of their batch that does not fit, do so too; what hangs on the ring follows, and what lacks another waits', async () => {
    await given(ofPartner());
    await topic.project([seen(4, '10:00:00', { Partner: recordId(3) }), seen(1, '10:00:00', { Partner: recordId(2) }), seen(9, '10:00:00', { Partner: recordId(99) }), seen(2, '10:00:00', { Partner: recordId(1) }), seen(3, '10:00:00', { Partner: recordId(2) })]);
    expect(await retry()).toMatchObject({ waiting: 1 });
    expect([await column('name'), await open()]).toEqual([['Contact 1', 'Contact 2', 'Contact 3', 'Contact 4'], [{ n: 9, code: '23503' }]]);
  });

  test('by a column that is not the key', async () => {
    await given('alter table public.contacts add constraint one_code unique (code), add foreign key (zone) references public.contacts (code)');
    expect(await project(seen(1, '10:00:00', { Code: 'x', Zone: 'y' }), seen(2, '10:00:00', { Code: 'y', Zone: 'x' }))).toBe(2);
    expect(await retry()).toEqual({ resolved: 2, waiting: 0 });
    expect(await column(`code || zone`)).toEqual(['xy', 'yx']);
  });

  test('wait as a whole when one of them does not fit for another reason, and cost the others nothing', async () => {
    await given(`${ofPartner()} alter table public.contacts add constraint one_code unique (code)`);
    await project(seen(8, '09:00:00', { Code: 'taken' }));
    await project(seen(1, '10:00:00', { Partner: recordId(2), Code: 'taken' }), seen(2, '10:00:00', { Partner: recordId(1) }), seen(3, '10:00:00', { Partner: recordId(4) }), seen(4, '10:00:00', { Partner: recordId(3) }));
    expect(await retry()).toEqual({ resolved: 2, waiting: 2 });
    expect(await column('name')).toEqual(['Contact 3', 'Contact 4', 'Contact 8']);
    await project(seen(8, '11:00:00', { Code: 'free' }));
    expect(await retry()).toEqual({ resolved: 2, waiting: 0 });
  });
});

describe.each(['no action', 'restrict', 'no action deferrable'])('removed rows that point to each other ON DELETE %s', (action) => {
  test('go together, unless another one still points to one of them', async () => {
    await given(ofPartner(`on delete ${action}`), removed);
    await topic.project(partners(3));
    await client.query(`insert into public.visits (contact_id) values (${recordId(2)})`);
    expect(await project(topic.deleted('11:00:00', 1), topic.deleted('11:00:00', 2), topic.deleted('11:00:00', 3))).toBe(3);
    expect(await retry()).toEqual({ resolved: 0, waiting: 3 });
    expect(await column('name')).toEqual(['Contact 1', 'Contact 2', 'Contact 3']);
    await client.query('delete from public.visits');
    // Under a deferrable key rows may move one by one, checked together with those in their way.
    expect(await retry()).toEqual({ resolved: 3, waiting: 0 });
    expect(await column('name')).toEqual([]);
  });
});

describe('where more waits than is tried at once', () => {
  const hopeless = (from: number, to: number): LogMessage[] => Array.from({ length: to - from }, (_, i) => seen(from + i, '10:00:00', { Partner: recordId(99) }));

  test('what fits is tried though it was tried more often than what came later', async () => {
    await given(ofRegion);
    await project(seen(1, '10:00:00', { Partner: recordId(77) }));
    await client.query('update lockstep.parked set tries = 100');
    await project(...hopeless(10, 20));
    await client.query(`insert into public.regions values (${recordId(77)})`);
    for (let i = 0; i < 3; i += 1) await retry({ atOnce: 4 });
    expect(await column('name')).toEqual(['Contact 1']);
  });

  test.each([
    ['swap a unique value', '', 'alter table public.contacts add constraint one_code unique (code);'],
    ['swap a value under a deferrable constraint', '', 'alter table public.contacts add constraint one_code unique (code) deferrable;'],
  ])('those that %s meet, wherever they wait', async (_, __, ddl) => {
    await given(`${ofRegion}${ddl}`);
    await project(...['x', 'y', 'z'].map((Code, i) => seen(i + 1, '09:00:00', { Code })));
    await project(seen(1, '10:00:00', { Code: 'y' }), ...hopeless(10, 20), seen(2, '10:00:00', { Code: 'z' }), ...hopeless(30, 40), seen(3, '10:00:00', { Code: 'x' }));
    expect(await retry({ atOnce: 4 })).toEqual({ resolved: 3, waiting: 3 });
    expect((await column('code')).slice(0, 3)).toEqual(['y', 'z', 'x']);
  });

  test.each([
    ['two of them', [1, 0, 0, 2, 0, 0, 3]],
    ['one of them', [1, 3, 0, 0, 0, 0, 2]],
  ])('those that point to each other meet, %s beyond what is tried at once', async (_, order) => {
    await given(ofPartner());
    const ring = partners(3);
    await project(...order.flatMap((n, i) => (n === 0 ? hopeless(10 * i, 10 * i + 3) : ring.slice(n - 1, n))));
    expect(await retry({ atOnce: 4 })).toMatchObject({ resolved: 3 });
    expect(await column('name')).toEqual(['Contact 1', 'Contact 2', 'Contact 3']);
  });

  test('a content does not win while one waits elsewhere that was seen too late to be older', async () => {
    await given(ofRegion);
    await project(seen(1, '10:05:00', { Partner: recordId(77), Name: 'Stamped later' }), ...hopeless(10, 20), seen(1, '09:20:00', { observed: '10:15:02', Partner: recordId(77), Name: 'Seen later' }));
    await client.query(`insert into public.regions values (${recordId(77)})`);
    for (let i = 0; i < 4; i += 1) await retry({ atOnce: 4 });
    expect(await column('name')).toEqual(['Seen later']);
  });
});

test('a content does not win while one is parked for good that was seen too late to be older', async () => {
  await given(ofRegion);
  await project(seen(1, '10:05:00', { Partner: recordId(77), Name: 'Stamped later' }), seen(1, '09:20:00', { observed: '10:15:02', Amount: '1'.repeat(20), Name: 'Too large' }));
  await client.query(`insert into public.regions values (${recordId(77)})`);
  expect(await retry()).toEqual({ resolved: 0, waiting: 1 });
  await overtake();
  expect([await column('name'), await parked()]).toEqual([[], 2]);
  await project(seen(1, '09:20:00', { observed: '10:15:30', Name: 'Corrected' }));
  await overtake();
  expect([await column('name'), await parked()]).toEqual([['Corrected'], 0]);
});

test.each([
  ['waits', { Code: 'y' }, { Code: 'z' }],
  ['is parked for good', { Amount: '1'.repeat(20) }, {}],
])('a removal that waits does not take the row of a record whose content from after it %s', async (_, values, holder) => {
  await given('alter table public.contacts add constraint one_code unique (code)', removed);
  await topic.project([seen(1, '09:00:00', { Code: 'x' }), seen(2, '09:00:00', { Code: 'y' })]);
  await client.query(`update public.contacts set note = 'of others'; insert into public.visits (contact_id) values (${recordId(1)})`);
  expect(await project(topic.deleted('10:00:00', 1))).toBe(1);
  await project(seen(1, '09:00:00', { ...values, observed: '10:02:00' }));
  await client.query('delete from public.visits');
  expect(await retry()).toMatchObject({ resolved: 0 });
  expect([await column('note'), await parked()]).toEqual([['of others', 'of others'], 2]);
  await project(seen(2, '11:00:00', holder), seen(1, '09:00:00', { Code: 'w', observed: '10:30:00' }));
  await overtake();
  await retry();
  await overtake();
  expect([await column('note'), await column('code'), await parked()]).toEqual([['of others', 'of others'], ['w', ('Code' in holder ? holder.Code : null)], 0]);
});

test.each([
  ['a check', 'add check ((zone is null) = (code is null))'],
  ['a foreign key MATCH FULL', 'add foreign key (zone, code) references public.places match full'],
])('columns that may be null together only, under %s, are emptied together', async (_, ddl) => {
  await given(`drop table if exists public.places; create table public.places (zone text, code text, primary key (zone, code)); insert into public.places values ('n', 'x'), ('n', 'y');
    alter table public.contacts add constraint one_place unique (zone, code), ${ddl}`);
  await topic.project([seen(1, '09:00:00', { Zone: 'n', Code: 'x' }), seen(2, '09:00:00', { Zone: 'n', Code: 'y' })]);
  expect(await project(seen(1, '10:00:00', { Zone: 'n', Code: 'y' }), seen(2, '10:00:00', { Zone: 'n', Code: 'x' }))).toBe(2);
  expect(await retry()).toEqual({ resolved: 2, waiting: 0 });
  expect(await column('zone || code')).toEqual(['ny', 'nx']);
});
