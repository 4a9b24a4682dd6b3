import { createTestDatabase, type TestDatabase } from '@lockstep/local-stack';
import { defineModule } from '@lockstep/modules';
import { connect, type Database, migrate } from '@lockstep/postgres';
import fc from 'fast-check';
import type { PoolClient } from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';

import type { LogMessage } from './fold-batch.ts';
import { adoptMapping } from './module-projection.ts';
import { type Retried, retryParked } from './retry-parked.ts';
import { recordId, Topic } from './testing.ts';

/*
 * Values that change hands between rows that wait. Whole tables are compared, those of others too: `xmin` shows which rows were written
 * at all.
 */
const customers = defineModule({
  apiName: 'Customers',
  slug: 'customers',
  table: { schema: 'public', name: 'customers' },
  keyColumn: 'crm_id',
  modifiedTimeColumn: 'modified_time',
  onDelete: { action: 'mark', deletedColumn: 'deleted_at' },
  fields: [
    { field: 'Name', kind: 'text', column: 'name', type: 'text' },
    { field: 'Code', kind: 'text', column: 'code', type: 'text' },
    { field: 'Zone', kind: 'text', column: 'zone', type: 'text' },
    { field: 'First', kind: 'integer', column: 'first_no', type: 'integer' },
    { field: 'Last', kind: 'integer', column: 'last_no', type: 'integer' },
    { field: 'Parent', kind: 'lookup', column: 'parent_id', type: 'bigint' },
  ],
});

let testDatabase: TestDatabase;
let db: Database;
let client: PoolClient;
let topic: Topic;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  db = await connect({ url: testDatabase.url, poolSize: 4 });
  await migrate(db, [customers]);
  client = await db.pool.connect();
});
afterAll(async () => {
  client.release();
  await db.close();
  await testDatabase.drop();
});

/** Tables as the legacy application made them: its own key, its own columns, and orders that point to its key. */
async function given(ddl: string): Promise<void> {
  await client.query(`
    drop table if exists public.prices, public.orders, public.customers, public.regions cascade;
    truncate lockstep.record_version, lockstep.projection_offset, lockstep.parked;
    create table public.regions (id bigint primary key);
    create table public.customers (
      id serial primary key, crm_id bigint unique, modified_time timestamptz, deleted_at timestamptz, name text, code text, zone text, first_no integer, last_no integer, parent_id bigint,
      tenant integer not null default 1, note text);
    create table public.orders (id serial primary key, customer_id integer not null references public.customers (id) on delete cascade on update cascade, amount integer);
    ${ddl}`);
  topic = new Topic(client, customers);
  await adoptMapping(db.pool, topic.projection);
}
beforeEach(() => given('alter table public.customers add constraint one_code unique (code)'));

type Values = { Name?: string; Code?: string | null; Zone?: string | null; First?: string; Last?: string; Parent?: string };
const seen = (n: number, modified: string, values: Values): LogMessage => topic.seen({ n, modified, Name: `Customer ${n}`, ...values });
/** Rows as they stood in the morning, with what the legacy application adds to them. */
async function standing(rows: readonly Values[]): Promise<void> {
  await topic.project(rows.map((values, i) => seen(i + 1, '09:00:00', values)));
  await client.query(`update public.customers set note = 'note ' || name; insert into public.orders (customer_id, amount) select id, 10 * id from public.customers`);
}
/** Edits, each in a batch of its own; those that have to wait do. */
async function edit(edits: readonly (readonly [n: number, values: Values])[], modified = '10:00:00'): Promise<number> {
  let waiting = 0;
  for (const [n, values] of edits) waiting += (await topic.project([seen(n, modified, values)])).waiting;
  return waiting;
}
async function retry(): Promise<Retried> {
  await client.query(`update lockstep.parked set tried_at = now() - interval '1 hour'`);
  return retryParked(client, topic.projection);
}
const rows = async (sql: string): Promise<unknown[]> => (await client.query(sql)).rows;
const codes = async (): Promise<unknown[]> => (await rows('select code from public.customers order by crm_id')).map((row) => (row as { code: unknown }).code);
const foreign = () => rows(`select c.id, c.crm_id::text, c.note, c.tenant, o.id as order_id, o.amount from public.customers c left join public.orders o on o.customer_id = c.id order by c.id, o.id`);
const versions = () => rows('select id, xmin::text from public.customers order by id');
const open = () => rows('select record_id, code from lockstep.parked where resolved_at is null order by id');

describe('a retry of rows that swap a value', () => {
  test('keeps a key that is unique and may be null, and what points to the row', async () => {
    await standing([{ Code: 'x' }, { Code: 'y' }, { Code: 'z' }]);
    const before = await foreign();
    expect(await edit([[1, { Code: 'y' }], [2, { Code: 'x' }]])).toBe(2);
    expect(await retry()).toEqual({ resolved: 2, waiting: 0 });
    expect([await codes(), await foreign()]).toEqual([['y', 'x', 'z'], before]);
    expect(await rows('select count(*)::int as n from public.customers')).toEqual([{ n: 3 }]);
  });

  describe.each(['cascade', 'set null', 'set default', 'no action', 'restrict'])('where another table refers to it ON UPDATE %s', (action) => {
    test.each([
      ['the column', '', 'code'],
      ['a column that is generated from it', `alter table public.customers add column code_key text generated always as (lower(code)) stored unique;`, 'code_key'],
    ])('%s: what refers to it is unchanged, and others are tried all the same', async (_, ddl, column) => {
      await given(`alter table public.customers add constraint one_code unique (code), add constraint one_zone unique (zone); ${ddl}
        create table public.prices (id serial primary key, customer_code text default 'fallback' references public.customers (${column}) on update ${action}, price integer)`);
      await standing([{ Code: 'x', Zone: 'north' }, { Code: 'y', Zone: 'south' }, { Code: 'fallback', Zone: 'west' }, { Code: 'w', Zone: 'east' }]);
      await client.query(`insert into public.prices (customer_code, price) values ('x', 1), ('y', 2), ('w', 3)`);
      const before = [await rows('select * from public.prices order by id'), await foreign(), await codes()];
      // Two that swap what is referred to, and two that swap another value.
      expect(await edit([[1, { Code: 'y', Zone: 'north' }], [2, { Code: 'x', Zone: 'south' }], [3, { Code: 'fallback', Zone: 'east' }], [4, { Code: 'w', Zone: 'west' }]])).toBe(4);
      expect(await retry()).toEqual({ resolved: 2, waiting: 2 });
      expect([await rows('select * from public.prices order by id'), await foreign(), await codes()]).toEqual(before);
      expect(await rows('select zone from public.customers order by crm_id')).toEqual([{ zone: 'north' }, { zone: 'south' }, { zone: 'east' }, { zone: 'west' }]);
    });
  });

  test('empties one value of one row, and writes no row that neither wants nor holds it', async () => {
    await client.query('alter table public.customers add constraint one_zone unique (zone)');
    await standing([{ Code: 'x', Zone: '1' }, { Code: 'y', Zone: '2' }, { Code: 'z', Zone: '3' }, { Code: 'taken', Zone: '4' }]);
    await edit([[1, { Code: 'y', Zone: '1' }], [2, { Code: 'x', Zone: '2' }], [3, { Code: 'taken', Zone: '3' }]]);
    const before = await versions();
    const query = vi.spyOn(client, 'query');
    expect(await retry()).toEqual({ resolved: 2, waiting: 1 });
    const emptying = query.mock.calls.filter(([text]) => typeof text === 'string' && text.includes('= null where "crm_id"'));
    query.mockRestore();
    expect(emptying).toEqual([['update "public"."customers" set "code" = null where "crm_id" = $1', [recordId(1)]]]);
    expect((await versions()).slice(2)).toEqual(before.slice(2));
  });

  test('waits where a trigger would tell other tables of the empty value, and says so; what the trigger wrote is as it was', async () => {
    await client.query(`
      create table public.audit (crm_id bigint, old text, new text);
      create function public.audit() returns trigger language plpgsql as $$ begin insert into public.audit values (new.crm_id, old.code, new.code); return new; end $$;
      create trigger audits after update of code on public.customers for each row when (old.code is distinct from new.code) execute function public.audit()`);
    await standing([{ Code: 'x' }, { Code: 'y' }, { Code: 'z' }]);
    await edit([[1, { Code: 'y' }], [2, { Code: 'x' }]]);
    expect(await retry()).toEqual({ resolved: 0, waiting: 2 });
    expect([await codes(), await rows('select * from public.audit')]).toEqual([['x', 'y', 'z'], []]);
    expect(await rows('select distinct cause from lockstep.parked')).toEqual([{ cause: expect.stringContaining('empty for a moment') }]);
    // In a chain nothing is emptied, and a trigger that touches the row alone sees nothing that others keep.
    await edit([[3, { Code: 'free' }]]);
    await client.query(`drop table public.audit; create or replace function public.audit() returns trigger language plpgsql as $$ begin new.note := 'touched'; return new; end $$;
      drop trigger audits on public.customers; create trigger audits before update on public.customers for each row execute function public.audit()`);
    expect(await retry()).toEqual({ resolved: 2, waiting: 0 });
    expect(await codes()).toEqual(['y', 'x', 'free']);
    await client.query('drop function public.audit cascade');
  });

  test('a chain is right where a trigger writes to other tables: nothing is emptied', async () => {
    await client.query(`
      create table public.audit (crm_id bigint, old text, new text);
      create function public.audit() returns trigger language plpgsql as $$ begin insert into public.audit values (new.crm_id, old.code, new.code); return new; end $$;
      create trigger audits after update of code on public.customers for each row when (old.code is distinct from new.code) execute function public.audit()`);
    await standing([{ Code: 'x' }, { Code: 'y' }]);
    await edit([[1, { Code: 'y' }], [2, { Code: 'z' }]]);
    expect(await retry()).toEqual({ resolved: 1, waiting: 0 });
    expect(await rows('select old, new from public.audit')).toEqual([{ old: 'y', new: 'z' }, { old: 'x', new: 'y' }]);
    await client.query('drop table public.audit; drop function public.audit cascade');
  });

  test('empties the row of which a trigger passes nothing on to others of the table, and none where it would of each', async () => {
    await client.query(`create function public.follow() returns trigger language plpgsql as $$ begin update public.customers set zone = new.code where zone = old.code; return new; end $$;
      create trigger follows after update of code on public.customers for each row when (old.code is distinct from new.code) execute function public.follow()`);
    const zones = () => rows('select code, zone from public.customers order by crm_id');
    await standing([{ Code: 'x' }, { Code: 'y' }, { Code: 'z', Zone: 'x' }]);
    await edit([[1, { Code: 'y' }], [2, { Code: 'x' }]]);
    expect(await retry()).toEqual({ resolved: 2, waiting: 0 });
    expect(await zones()).toEqual([{ code: 'y', zone: null }, { code: 'x', zone: null }, { code: 'z', zone: 'y' }]);
    await topic.project([seen(4, '10:30:00', { Code: 'w', Zone: 'x' })]);
    await edit([[1, { Code: 'x' }], [2, { Code: 'y' }]], '11:00:00');
    expect(await retry()).toEqual({ resolved: 0, waiting: 2 });
    expect(await zones()).toEqual([{ code: 'y', zone: null }, { code: 'x', zone: null }, { code: 'z', zone: 'y' }, { code: 'w', zone: 'x' }]);
    await client.query('drop function public.follow cascade');
  });

  test('is right beside columns with quotes in their names', async () => {
    await client.query(`alter table public.customers add column "6"" nail" integer default 7, add constraint one_nail unique ("6"" nail", code) deferrable`);
    await standing([{ Code: 'x' }, { Code: 'y' }]);
    await edit([[1, { Code: 'y' }], [2, { Code: 'x' }]]);
    expect(await retry()).toEqual({ resolved: 2, waiting: 0 });
    expect(await rows(`select code, "6"" nail" as nail from public.customers order by crm_id`)).toEqual([{ code: 'y', nail: 7 }, { code: 'x', nail: 7 }]);
  });

  test.each([['', 'checked at once'], ['deferrable', 'deferrable']])('is right for a type that lies in a schema off the search path %s', async (deferrable) => {
    await client.query(`create schema if not exists ext; create extension if not exists citext schema ext; alter table public.customers drop constraint one_code; alter table public.customers alter column code type ext.citext, add constraint one_code unique (code) ${deferrable}`);
    await topic.projection.readTable(client);
    await standing([{ Code: 'x' }, { Code: 'y' }, { Code: 'z' }]);
    await edit([[1, { Code: 'Y' }], [2, { Code: 'X' }]]);
    expect(await retry()).toEqual({ resolved: 2, waiting: 0 });
    expect(await codes()).toEqual(['Y', 'X', 'z']);
  });

  test('a chain that ends at a free value empties nothing, so that a column that may not be null is no obstacle', async () => {
    await client.query('alter table public.customers alter column code set not null');
    await standing([{ Code: 'x' }, { Code: 'y' }, { Code: 'z' }]);
    expect(await edit([[1, { Code: 'y' }], [2, { Code: 'z' }]])).toBe(2);
    await client.query(`update public.customers set code = 'elsewhere' where code = 'z'`);
    expect(await retry()).toEqual({ resolved: 2, waiting: 0 });
    expect(await codes()).toEqual(['y', 'z', 'elsewhere']);
  });

  test('a row that is emptied and then fails gets back what it had, and the row that wanted it waits on with its own cause', async () => {
    await client.query('alter table public.customers add constraint of_region foreign key (parent_id) references public.regions (id)');
    await standing([{ Code: 'x' }, { Code: 'y' }, { Code: 'z' }]);
    await edit([[1, { Code: 'y' }], [2, { Code: 'z', Parent: recordId(77) }], [3, { Code: 'x' }]]);
    const before = [await rows('select *, xmin from public.customers order by id'), await foreign()];
    expect(await retry()).toEqual({ resolved: 0, waiting: 3 });
    expect([await rows('select *, xmin from public.customers order by id'), await foreign()]).toEqual(before);
    expect(await open()).toEqual([{ record_id: recordId(1), code: '23505' }, { record_id: recordId(2), code: '23505' }, { record_id: recordId(3), code: '23505' }]);
    await client.query(`insert into public.regions values (${recordId(77)})`);
    expect(await retry()).toEqual({ resolved: 3, waiting: 0 });
    expect(await codes()).toEqual(['y', 'z', 'x']);
  });

  test('a long ring that one row keeps from closing costs a few statements a row, and so does closing it', async () => {
    const length = 30;
    await client.query('alter table public.customers add constraint of_region foreign key (parent_id) references public.regions (id)');
    await standing(Array.from({ length }, (_, n) => ({ Code: `c${n}` })));
    await edit(Array.from({ length }, (_, n) => [n + 1, { Code: `c${(n + 1) % length}`, ...(n === length - 1 ? { Parent: recordId(77) } : {}) }]));
    const query = vi.spyOn(client, 'query');
    expect(await retry()).toEqual({ resolved: 0, waiting: length });
    expect(query.mock.calls.length).toBeLessThan(25 * length);
    await client.query(`insert into public.regions values (${recordId(77)})`);
    query.mockClear();
    expect(await retry()).toEqual({ resolved: length, waiting: 0 });
    expect(query.mock.calls.length).toBeLessThan(25 * length);
    query.mockRestore();
  });

  test('a row that keeps its value does not lose it to one that wants it as well', async () => {
    await client.query('alter table public.customers add constraint of_region foreign key (parent_id) references public.regions (id)');
    await standing([{ Code: 'x' }, { Code: 'y' }]);
    await edit([[1, { Code: 'y' }], [2, { Code: 'y', Parent: recordId(77), Name: 'Edited' }]]);
    await client.query(`insert into public.regions values (${recordId(77)})`);
    expect(await retry()).toEqual({ resolved: 1, waiting: 1 });
    expect(await rows('select name, code from public.customers order by crm_id')).toEqual([{ name: 'Customer 1', code: 'x' }, { name: 'Edited', code: 'y' }]);
  });

  test('a new row takes over the value of one that then points to it', async () => {
    await client.query('alter table public.customers add constraint of_parent foreign key (parent_id) references public.customers (crm_id)');
    await standing([{ Code: 'x' }]);
    expect(await edit([[1, { Code: 'old', Parent: recordId(2) }], [2, { Code: 'x' }]])).toBe(2);
    expect(await retry()).toEqual({ resolved: 2, waiting: 0 });
    expect(await rows('select name, code, parent_id::text from public.customers order by crm_id')).toEqual([{ name: 'Customer 1', code: 'old', parent_id: recordId(2) }, { name: 'Customer 2', code: 'x', parent_id: null }]);
  });

  test.each([
    ['new rows in a row, the last first', ''],
    ['new rows in a ring, under a deferrable constraint', 'deferrable'],
  ])('%s', async (_, deferrable) => {
    await client.query(`alter table public.customers add constraint of_parent foreign key (parent_id) references public.customers (crm_id) ${deferrable}`);
    expect(await edit([[1, { Parent: recordId(2) }], [2, { Parent: recordId(3) }], ...(deferrable === '' ? [] : [[3, { Parent: recordId(1) }] as const]), [4, { Parent: recordId(9) }]])).toBe(deferrable === '' ? 3 : 4);
    if (deferrable === '') await edit([[3, {}]]);
    expect(await retry()).toMatchObject({ waiting: 1 });
    expect(await rows('select right(crm_id::text, 1) as n from public.customers order by 1')).toEqual([{ n: '1' }, { n: '2' }, { n: '3' }]);
  });

  test('under a column that may not be null both wait, and the table is as it was', async () => {
    await client.query('alter table public.customers alter column code set not null');
    await standing([{ Code: 'x' }, { Code: 'y' }, { Code: 'z' }]);
    await edit([[1, { Code: 'y' }], [2, { Code: 'x' }]]);
    const before = await rows('select *, xmin from public.customers order by id');
    expect(await retry()).toEqual({ resolved: 0, waiting: 2 });
    expect(await rows('select *, xmin from public.customers order by id')).toEqual(before);
    await edit([[3, { Code: 'other' }], [2, { Code: 'z' }]], '11:00:00');
    expect(await retry()).toEqual({ resolved: 2, waiting: 0 });
    expect(await codes()).toEqual(['y', 'z', 'other']);
  });

  test('what is asked of an exclusion constraint waits as well, and is right once there is room', async () => {
    await client.query('alter table public.customers add constraint no_overlap exclude using gist (int4range(first_no, last_no) with &&)');
    await standing([{ First: '1', Last: '5' }, { First: '5', Last: '9' }]);
    expect(await edit([[1, { First: '1', Last: '6' }]])).toBe(1);
    expect(await retry()).toEqual({ resolved: 0, waiting: 1 });
    expect(await open()).toEqual([{ record_id: recordId(1), code: '23P01' }]);
    await edit([[2, { First: '6', Last: '9' }]]);
    expect(await retry()).toEqual({ resolved: 1, waiting: 0 });
    expect(await rows('select first_no, last_no from public.customers order by crm_id')).toEqual([{ first_no: 1, last_no: 6 }, { first_no: 6, last_no: 9 }]);
  });

  test('a row that a trigger refuses waits on, and the others are tried', async () => {
    await standing([{ Code: 'x' }, { Code: 'y' }, { Code: 'z' }]);
    await edit([[1, { Code: 'y' }], [2, { Code: 'x' }], [3, { Code: 'x' }]]);
    await client.query(`create function public.refuse() returns trigger language plpgsql as $$ begin raise exception 'not today'; end $$;
      create trigger refuse before insert or update on public.customers for each row when (new.crm_id = ${recordId(3)}) execute function public.refuse()`);
    expect(await retry()).toEqual({ resolved: 2, waiting: 1 });
    expect(await open()).toEqual([{ record_id: recordId(3), code: 'P0001' }]);
    await client.query('drop function public.refuse cascade');
    await edit([[2, { Code: 'w' }]], '11:00:00');
    expect(await retry()).toEqual({ resolved: 1, waiting: 0 });
    expect(await codes()).toEqual(['y', 'w', 'x']);
  });

  test('of one record that waits twice the older stands where the newer does not fit', async () => {
    await client.query('alter table public.customers add constraint of_region foreign key (parent_id) references public.regions (id)');
    await standing([{ Code: 'x' }, { Code: 'y' }]);
    await edit([[1, { Code: 'x', Parent: recordId(77), Name: 'Older' }]], '10:00:00');
    await edit([[1, { Code: 'y', Name: 'Newer' }]], '10:05:00');
    await client.query(`insert into public.regions values (${recordId(77)})`);
    expect(await retry()).toEqual({ resolved: 1, waiting: 1 });
    expect(await rows('select name from public.customers order by crm_id')).toEqual([{ name: 'Older' }, { name: 'Customer 2' }]);
    await edit([[2, { Code: 'free' }]]);
    expect(await retry()).toEqual({ resolved: 1, waiting: 0 });
    expect(await rows('select name, code from public.customers order by crm_id')).toEqual([{ name: 'Newer', code: 'y' }, { name: 'Customer 2', code: 'free' }]);
  });
});

/** Unique indexes of the column `code`, some with others; under each the same rows are in each other's way. */
const kinds = [
  'alter table public.customers add constraint one_code unique (code)',
  'alter table public.customers add constraint one_code unique nulls not distinct (code)',
  'alter table public.customers add constraint one_code unique (code, zone)',
  'alter table public.customers add constraint one_code unique (zone, code) include (name)',
  'create unique index one_code on public.customers (lower(code))',
  'create unique index one_code on public.customers (zone, (code || zone))',
  'create unique index one_code on public.customers (code) where deleted_at is null',
  'alter table public.customers add constraint one_code unique (tenant, code)',
  'alter table public.customers add column code_key text generated always as (upper(code)) stored unique',
  'alter table public.customers add constraint one_code unique (code) deferrable',
  'alter table public.customers add constraint one_code unique (code) deferrable initially deferred',
];

describe('any permutation of values', () => {
  // Rings of 2 to 5, several at once; values that no row of the ring has; one of them may be held up by a foreign key.
  const permutation = fc.record({
    kind: fc.constantFrom(...kinds),
    order: fc.shuffledSubarray([0, 1, 2, 3, 4, 5, 6], { minLength: 2 }),
    ringSizes: fc.array(fc.integer({ min: 2, max: 5 }), { minLength: 1, maxLength: 3 }),
    arrival: fc.shuffledSubarray([0, 1, 2, 3, 4, 5, 6], { minLength: 7 }),
    heldUp: fc.option(fc.nat({ max: 6 }), { freq: 2 }),
  });

  test('is right at the end, or whole rings wait; no other row, column or table is touched', async () => {
    await fc.assert(
      fc.asyncProperty(permutation, async ({ kind, order, ringSizes, arrival, heldUp }) => {
        await given(`${kind}; alter table public.customers add constraint of_region foreign key (parent_id) references public.regions (id)`);
        const before = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'bystander'];
        await standing(before.map((Code) => ({ Code, Zone: 'north' })));
        const after = [...before];
        const ringOf = new Map<number, number>();
        let rest = [...order];
        for (const [ring, size] of ringSizes.entries()) {
          const members = rest.splice(0, size);
          if (members.length < 2) break;
          members.forEach((member, i) => {
            after[member] = before[members[(i + 1) % members.length] as number] as string;
            ringOf.set(member, ring);
          });
        }
        const [tables, xmin] = [await foreign(), await versions()];
        await edit(arrival.filter((n) => ringOf.has(n)).map((n) => [n + 1, { Code: after[n] as string, Zone: 'north', ...(n === heldUp ? { Parent: recordId(77) } : {}) }]));
        await retry();
        const waits = (n: number): boolean => heldUp !== null && ringOf.has(heldUp) && ringOf.get(n) === ringOf.get(heldUp);
        expect(await codes()).toEqual(after.map((code, n) => (waits(n) ? before[n] : code)));
        expect((await versions()).filter((_, n) => !ringOf.has(n) || waits(n))).toEqual(xmin.filter((_, n) => !ringOf.has(n) || waits(n)));
        await client.query(`insert into public.regions values (${recordId(77)})`);
        await retry();
        expect([await codes(), await foreign(), await open()]).toEqual([after, tables, []]);
      }),
      { numRuns: 25 },
    );
  });
});
