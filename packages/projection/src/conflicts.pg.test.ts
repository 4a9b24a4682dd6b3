import { createTestDatabase } from '@lockstep/local-stack';
import { deals, leads, products } from '@lockstep/modules';
import { connect, type Database, migrate } from '@lockstep/postgres';
import type { PoolClient } from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { parkBatch } from './apply-batch.ts';
import type { LogMessage } from './fold-batch.ts';
import { adoptMapping } from './module-projection.ts';
import { loadPositions } from './positions.ts';
import { retryParked } from './retry-parked.ts';
import { recordId, Topic } from './testing.ts';

let testDatabase: Awaited<ReturnType<typeof createTestDatabase>>;
let db: Database;
let client: PoolClient;
let lead: Topic;
let deal: Topic;
let product: Topic;

beforeAll(async () => {
  testDatabase = await createTestDatabase({ legacySchema: true });
  db = await connect({ url: testDatabase.url, poolSize: 4 });
  await migrate(db, [leads, deals, products]);
  client = await db.pool.connect();
});
afterAll(async () => {
  client.release();
  await db.close();
  await testDatabase.drop();
});
beforeEach(async () => {
  await client.query(`
    truncate public.leads, public.deals, public.products, public.product_reviews cascade;
    truncate lockstep.record_version, lockstep.projection_offset, lockstep.parked;
    alter table public.deals drop constraint if exists of_contact;
    alter table public.products drop constraint if exists one_code;
    alter table public.products alter column product_code drop not null;
    drop index if exists public.one_code_of_any_case`);
  [lead, deal, product] = [new Topic(client, leads), new Topic(client, deals), new Topic(client, products)];
  for (const { projection } of [lead, deal, product]) await adoptMapping(db.pool, projection);
});

const rows = async (sql: string): Promise<unknown[]> => (await client.query(sql)).rows;
const waiting = (): Promise<unknown[]> => rows('select code from lockstep.parked where resolved_at is null order by id');
const codes = (): Promise<unknown[]> => rows('select product_code as code from public.products order by id');

/** As if the time of the next try had come. */
async function retry(topic: Topic): Promise<{ resolved: number; waiting: number }> {
  await client.query(`update lockstep.parked set tried_at = now() - interval '1 hour'`);
  return retryParked(client, topic.projection);
}

describe('Deal before its Account under a foreign key', () => {
  // A lead stands for the account: any row that another one points to.
  beforeEach(() => client.query('alter table public.deals add constraint of_contact foreign key (contact_id) references public.leads (id)'));

  test('waits, and is right once the parent is there; nothing is parked for good', async () => {
    const applied = await deal.project([deal.seen({ n: 1, modified: '10:00:00', Deal_Name: 'A', Contact_Name: recordId(9) }), deal.seen({ n: 2, modified: '10:00:00', Deal_Name: 'B' })]);
    expect(applied).toMatchObject({ applied: 1, rejects: 0, waiting: 1 });
    expect(await retry(deal)).toEqual({ resolved: 0, waiting: 1 });
    await lead.project([lead.seen({ n: 9, modified: '10:00:00', Last_Name: 'Parent' })]);
    expect(await retry(deal)).toEqual({ resolved: 1, waiting: 0 });
    expect(await rows('select deal_name, contact_id::text from public.deals order by id')).toEqual([{ deal_name: 'A', contact_id: recordId(9) }, { deal_name: 'B', contact_id: null }]);
    expect(await waiting()).toEqual([]);
    expect(await rows('select count(value)::int as kept from lockstep.parked')).toEqual([{ kept: 0 }]);
  });

  test('is not tried before it is due, and ever less often', async () => {
    // So that the key is known by then: under a table that has changed it would be tried at once.
    await deal.project([deal.seen({ n: 5, modified: '10:00:00' })]);
    await deal.project([deal.seen({ modified: '10:00:00', Contact_Name: recordId(9) })]);
    expect(await retryParked(client, deal.projection)).toEqual({ resolved: 0, waiting: 0 });
    await retry(deal);
    expect(await retryParked(client, deal.projection)).toEqual({ resolved: 0, waiting: 0 });
    expect(await rows('select tries from lockstep.parked')).toEqual([{ tries: 1 }]);
  });

  test('what came later stands, and what waited is overtaken', async () => {
    await deal.project([deal.seen({ modified: '10:00:00', Deal_Name: 'Old', Contact_Name: recordId(9) })]);
    await deal.project([deal.seen({ modified: '10:05:00', Deal_Name: 'New' })]);
    expect(await retry(deal)).toEqual({ resolved: 1, waiting: 0 });
    expect(await rows('select deal_name, contact_id from public.deals')).toEqual([{ deal_name: 'New', contact_id: null }]);
  });
});

describe.each([
  ['no action', '23503'],
  ['restrict', '23001'],
])('a row that is removed while others point to it ON DELETE %s', (action, code) => {
  const alone = (): LogMessage[] => [];
  const amongMany = (): LogMessage[] => Array.from({ length: 120 }, (_, i) => product.seen({ n: 100 + i, modified: '10:00:00', Product_Name: `New ${i}` }));
  const amongRemovals = (): LogMessage[] => [10, 11].map((n) => product.deleted('10:00:00', n));

  beforeEach(async () => {
    await client.query(`alter table public.product_reviews drop constraint if exists product_reviews_product_id_fkey, add constraint product_reviews_product_id_fkey foreign key (product_id) references public.products (id) on delete ${action}`);
    await product.project([1, 10, 11].map((n) => product.seen({ n, modified: '09:00:00', Product_Name: `P${n}` })));
    await client.query(`insert into public.product_reviews (product_id, stars) values (${recordId(1)}, 5)`);
  });

  test.each([['alone', alone, 3], ['among many new rows', amongMany, 123], ['among other removals', amongRemovals, 1]])('goes once they are gone, %s in its batch, which is applied but for it', async (_, others, left) => {
    expect(await product.project([...others(), product.deleted('10:00:00'), ...others()])).toMatchObject({ rejects: 0, waiting: 1 });
    expect(await rows('select record_id, code, retryable from lockstep.parked')).toEqual([{ record_id: recordId(1), code, retryable: true }]);
    expect(await rows('select count(*)::int as n from public.products')).toEqual([{ n: left }]);
    expect(await retry(product)).toEqual({ resolved: 0, waiting: 1 });
    await client.query('delete from public.product_reviews');
    expect(await retry(product)).toEqual({ resolved: 1, waiting: 0 });
    expect(await rows('select count(*)::int as n from public.products')).toEqual([{ n: left - 1 }]);
    expect(await rows(`select deleted_ms::float8 as deleted from lockstep.record_version where record_id = ${recordId(1)}`)).toEqual([{ deleted: Date.parse('2026-03-02T10:00:00.999Z') }]);
  });
});

describe('a fault of the row itself', () => {
  test.each([
    ['23502', 'alter table public.deals alter column stage set not null', 'alter table public.deals alter column stage drop not null'],
    ['23514', `alter table public.deals add constraint staged check (coalesce(stage, '') <> '')`, 'alter table public.deals drop constraint staged'],
  ])('%s is parked for good, with its value', async (code, ddl, undo) => {
    await client.query(ddl);
    expect(await deal.project([deal.seen({ modified: '10:00:00' })])).toMatchObject({ rejects: 1, waiting: 0 });
    await client.query(undo);
    expect(await rows('select code, retryable, value is not null as has_value, observed_ms is not null as has_version from lockstep.parked')).toEqual([{ code, retryable: false, has_value: true, has_version: true }]);
  });

  test('that shows when it is tried again: it is tried no more, until the table has changed', async () => {
    await client.query('alter table public.deals add constraint of_contact foreign key (contact_id) references public.leads (id)');
    await deal.project([deal.seen({ modified: '10:00:00', Contact_Name: recordId(9) })]);
    await client.query(`alter table public.deals add constraint staged check (coalesce(stage, '') <> '')`);
    expect(await retry(deal)).toEqual({ resolved: 0, waiting: 1 });
    expect(await rows('select code, retryable from lockstep.parked')).toEqual([{ code: '23514', retryable: false }]);
    expect(await retry(deal)).toEqual({ resolved: 0, waiting: 0 });
    await client.query('alter table public.deals drop constraint staged');
    expect(await retry(deal)).toEqual({ resolved: 0, waiting: 1 });
    expect(await rows('select code, retryable from lockstep.parked')).toEqual([{ code: '23503', retryable: true }]);
  });
});

describe('of several processes', () => {
  const waits = async (): Promise<unknown> => {
    await client.query('alter table public.deals add constraint of_contact foreign key (contact_id) references public.leads (id)');
    await deal.project([deal.seen({ modified: '10:00:00', Contact_Name: recordId(9) })]);
    return lead.project([lead.seen({ n: 9, modified: '10:00:00', Last_Name: 'Parent' })]);
  };

  test('one tries what waits, and the others pass over what it has in hand', async () => {
    await waits();
    await client.query(`update lockstep.parked set tried_at = now() - interval '1 hour'`);
    const other = await db.pool.connect();
    await other.query('begin; select from lockstep.parked for update');
    await client.query(`set lock_timeout = '2s'`);
    try {
      expect(await retryParked(client, deal.projection)).toEqual({ resolved: 0, waiting: 0 });
    } finally {
      await client.query('set lock_timeout = 0');
      await other.query('rollback');
      other.release();
    }
    expect(await retry(deal)).toEqual({ resolved: 1, waiting: 0 });
  });

  test('one whose mapping was replaced tries nothing', async () => {
    await waits();
    await client.query(`update lockstep.mapping set fingerprint = 'newer' where module = 'Deals'`);
    expect(await retry(deal)).toEqual({ resolved: 0, waiting: 0 });
    expect([await waiting(), await rows('select from public.deals')]).toEqual([[{ code: '23503' }], []]);
  });

  test('one whose position was taken parks nothing', async () => {
    const [message] = [deal.seen({ modified: '10:00:00' })];
    const at = { topic: deal.topicId, topicId: deal.topicId };
    await loadPositions(client, { ...at, partitions: [0] });
    await client.query('update lockstep.projection_offset set next_offset = 1');
    const parking = parkBatch(client, deal.projection, { ...at, messages: [message], positions: new Map([[0, { from: 0, to: 1 }]]) }, [{ message, code: '23503', cause: 'a parent is missing' }]);
    await expect(parking).rejects.toMatchObject({ code: 'POSITION_TAKEN' });
    expect([await waiting(), await rows('select next_offset::int as next from lockstep.projection_offset')]).toEqual([[], [{ next: 1 }]]);
  });
});

test('what still conflicts under a constraint that is checked at the end waits on, and costs the others nothing', async () => {
  await client.query('alter table public.products add constraint one_code unique (product_code) deferrable initially deferred');
  const code = (n: number, modified: string, value: string): LogMessage => product.seen({ n, modified, Product_Code: value });
  await product.project([code(1, '09:00:00', 'x'), code(2, '09:00:00', 'y'), code(3, '09:00:00', 'z')]);
  for (const message of [code(1, '10:00:00', 'y'), code(2, '10:00:00', 'x'), code(4, '10:00:00', 'z')]) expect(await product.project([message])).toMatchObject({ waiting: 1 });
  expect(await retry(product)).toEqual({ resolved: 2, waiting: 1 });
  expect([await codes(), await waiting(), await rows('select max(tries) as tries from lockstep.parked')]).toEqual([[{ code: 'y' }, { code: 'x' }, { code: 'z' }], [{ code: '23505' }], [{ tries: 1 }]]);
});

describe('two rows swapping a unique value', () => {
  const code = (n: number, modified: string, value: string) => product.seen({ n, modified, Product_Name: `P${n}`, Manufacturer: 'M', Product_Code: value });

  async function swapped(): Promise<void> {
    await product.project([code(1, '09:00:00', 'x'), code(2, '09:00:00', 'y')]);
    await client.query(`update public.products set warehouse_bin = 'bin ' || product_code`);
    for (const message of [code(1, '10:00:00', 'y'), code(2, '10:00:00', 'x')]) expect(await product.project([message])).toMatchObject({ waiting: 1 });
  }

  test.each([
    ['a constraint', 'alter table public.products add constraint one_code unique (product_code)'],
    ['a constraint over several columns', 'alter table public.products add constraint one_code unique (product_code, manufacturer)'],
    ['an index of an expression', 'create unique index one_code_of_any_case on public.products (lower(product_code))'],
    ['a deferrable constraint of a column that may not be null', 'alter table public.products alter column product_code set not null, add constraint one_code unique (product_code) deferrable'],
  ])('both right at the end, under %s; foreign columns stay', async (_, ddl) => {
    await client.query(ddl);
    await swapped();
    await retry(product);
    expect(await rows('select product_code as code, warehouse_bin as bin from public.products order by id')).toEqual([{ code: 'y', bin: 'bin x' }, { code: 'x', bin: 'bin y' }]);
    expect(await waiting()).toEqual([]);
  });

  test('a third row that is in no other row\'s way waits alone', async () => {
    await client.query('alter table public.products add constraint one_code unique (product_code)');
    await product.project([code(9, '09:00:00', 'taken')]);
    await swapped();
    await product.project([code(3, '10:00:00', 'taken')]);
    expect(await retry(product)).toEqual({ resolved: 2, waiting: 1 });
    expect(await codes()).toEqual([{ code: 'y' }, { code: 'x' }, { code: 'taken' }]);
    await product.project([code(9, '11:00:00', 'given up')]);
    expect(await retry(product)).toEqual({ resolved: 1, waiting: 0 });
    expect(await rows(`select product_code as code from public.products where id = ${recordId(3)}`)).toEqual([{ code: 'taken' }]);
  });

  test('a value that goes round three rows', async () => {
    await client.query('alter table public.products add constraint one_code unique (product_code)');
    await product.project([code(1, '09:00:00', 'x'), code(2, '09:00:00', 'y'), code(3, '09:00:00', 'z')]);
    for (const message of [code(1, '10:00:00', 'y'), code(2, '10:00:00', 'z'), code(3, '10:00:00', 'x')]) await product.project([message]);
    await retry(product);
    expect(await codes()).toEqual([{ code: 'y' }, { code: 'z' }, { code: 'x' }]);
    expect(await waiting()).toEqual([]);
  });

  test('what has found its place does not lose it to what still waits', async () => {
    await client.query('alter table public.products add constraint one_code unique (product_code)');
    await product.project([code(1, '09:00:00', 'x'), code(2, '09:00:00', 'y')]);
    await product.project([code(1, '10:00:00', 'y')]);
    expect(await retry(product)).toEqual({ resolved: 0, waiting: 1 });
    expect(await codes()).toEqual([{ code: 'x' }, { code: 'y' }]);
  });
});
