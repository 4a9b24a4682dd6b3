import { createTestDatabase } from '@lockstep/local-stack';
import { coverageOf, products } from '@lockstep/modules';
import { connect, type Database, migrate, registerReader } from '@lockstep/postgres';
import { coverage, encodeConfirmed, encodeCoverage, encodeSeen, type FieldValue } from '@lockstep/record-log';
import type { PoolClient } from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { adoptMapping } from './module-projection.ts';
import { type Retried, retryParked } from './retry-parked.ts';
import { at, recordId, Topic } from './testing.ts';

let testDatabase: Awaited<ReturnType<typeof createTestDatabase>>;
let db: Database;
let client: PoolClient;
let product: Topic;

beforeAll(async () => {
  testDatabase = await createTestDatabase({ legacySchema: true });
  db = await connect({ url: testDatabase.url, poolSize: 2 });
  await migrate(db, [products]);
  client = await db.pool.connect();
});
afterAll(async () => {
  client.release();
  await db.close();
  await testDatabase.drop();
});

/** Product 1 has code X, and a review points to it; it was deleted, and product 2 took the code. */
beforeEach(async () => {
  await client.query(`
    truncate public.products, public.product_reviews cascade;
    truncate lockstep.record_version, lockstep.projection_offset, lockstep.parked, lockstep.look_wanted;
    alter table public.products drop constraint if exists one_code cascade;
    alter table public.products alter column product_code drop not null;
    alter table public.product_reviews drop constraint product_reviews_product_id_fkey;
    alter table public.product_reviews add constraint product_reviews_product_id_fkey foreign key (product_id) references public.products (id);
    alter table public.product_reviews add column if not exists code text;
    alter table public.products add constraint one_code unique (product_code)`);
  product = new Topic(client, products);
  await adoptMapping(db.pool, product.projection);
});
async function taken(): Promise<number> {
  await product.project([product.seen({ n: 1, modified: '09:00:00', Product_Name: 'First', Product_Code: 'X', Unit_Price: '10.00' })]);
  await client.query(`update public.products set warehouse_bin = 'A7'; insert into public.product_reviews (product_id, stars, code) values (${recordId(1)}, 5, 'X')`);
  let waiting = 0;
  for (const message of [product.deleted('10:00:00', 1), product.seen({ n: 2, modified: '10:01:00', Product_Name: 'Second', Product_Code: 'X' })]) waiting += (await product.project([message])).waiting;
  return waiting;
}

const rows = async (sql: string): Promise<unknown[]> => (await client.query(sql)).rows;
const standing = (): Promise<unknown[]> => rows(`select product_name as name, product_code as code from public.products order by id`);
const waits = (): Promise<unknown[]> => rows(`select record_id as id, code from lockstep.parked where resolved_at is null order by id`);
const [first, second] = [recordId(1), recordId(2)];
async function retry(): Promise<Retried> {
  await client.query(`update lockstep.parked set tried_at = now() - interval '1 hour'`);
  return retryParked(client, product.projection);
}

describe.each(['not deferrable', 'deferrable initially deferred'])('a removed row that rows of another table keep, by a key that is %s,', (deferrable) => {
  beforeEach(() => client.query(`alter table public.product_reviews drop constraint product_reviews_product_id_fkey;
    alter table public.product_reviews add constraint product_reviews_product_id_fkey foreign key (product_id) references public.products (id) ${deferrable}`));

  test('gives up its unique value to the record that has it now, and goes once it may', async () => {
    expect(await taken()).toBe(2);
    expect(await retry()).toEqual({ resolved: 1, waiting: 1 });
    expect(await standing()).toEqual([{ name: 'First', code: null }, { name: 'Second', code: 'X' }]);
    expect(await rows(`select unit_price::text as price, warehouse_bin as bin from public.products where id = ${first}`)).toEqual([{ price: '10.00', bin: 'A7' }]);
    expect(await waits()).toEqual([{ id: first, code: '23503' }]);
    await client.query('delete from public.product_reviews');
    expect(await retry()).toEqual({ resolved: 1, waiting: 0 });
    expect(await standing()).toEqual([{ name: 'Second', code: 'X' }]);
  });
});

describe('a removed row that rows of another table keep', () => {
  test('has its value again when the record is restored', async () => {
    await taken();
    await retry();
    await product.project([product.seen({ n: 2, modified: '10:05:00', Product_Name: 'Second', Product_Code: 'Y' })]);
    await product.project([product.seen({ n: 1, modified: '09:00:00', observed: '10:10:00', Product_Name: 'First', Product_Code: 'X', Unit_Price: '10.00' })]);
    await retry();
    expect(await standing()).toEqual([{ name: 'First', code: 'X' }, { name: 'Second', code: 'Y' }]);
    expect(await waits()).toEqual([]);
  });

  test('is not confirmed to be what it was: a look at all of it is wanted, and brings the value back', async () => {
    await taken();
    await retry();
    await product.project([product.seen({ n: 2, modified: '10:05:00', Product_Name: 'Second', Product_Code: 'Y' })]);
    const again = product.seen({ n: 1, modified: '09:00:00', observed: '10:10:00', Product_Name: 'First', Product_Code: 'X', Unit_Price: '10.00' });
    const { hash } = JSON.parse(String(again.value)) as { hash: string };
    await product.project([product.message(encodeConfirmed({ id: first, modifiedMs: at('09:00:00'), observedMs: at('10:09:00'), hash }))]);
    expect(await rows('select record_id, reason from lockstep.look_wanted')).toEqual([{ record_id: first, reason: 'unconfirmed' }]);
    // By this the look is written down in full: the register does not claim to have the content.
    expect((await registerReader(db).known('Products', [first, second]))).toMatchObject(new Map([[first, { hash: null }], [second, { hash: expect.any(String) }]]));
    await product.project([{ ...again, offset: product.message(null).offset }]);
    await retry();
    expect(await standing()).toEqual([{ name: 'First', code: 'X' }, { name: 'Second', code: 'Y' }]);
    expect((await registerReader(db).known('Products', [first])).get(first)).toMatchObject({ hash });
    expect(await waits()).toEqual([]);
  });

  test('that is restored by a look which says nothing of the value has another look wanted, which brings it back', async () => {
    await taken();
    await retry();
    await product.project([product.seen({ n: 2, modified: '10:05:00', Product_Name: 'Second', Product_Code: 'Y' })]);
    const part = coverage(coverageOf(products).fields.filter((field) => field !== 'Product_Code'));
    const values: Record<string, FieldValue> = { Product_Name: 'First', Unit_Price: '10.00' };
    const seenInPart = (modified: string, observed: string) =>
      product.message(encodeSeen({ id: first, modifiedMs: at(modified), observedMs: at(observed), coverage: part.id, fields: part.fields.map((field) => values[field] ?? null) }).value);
    await product.project([product.message(encodeCoverage({ coverage: part.id, fields: part.fields })), seenInPart('09:00:00', '10:10:00')]);
    expect(await standing()).toEqual([{ name: 'First', code: null }, { name: 'Second', code: 'Y' }]);
    expect(await rows('select record_id, reason from lockstep.look_wanted')).toEqual([{ record_id: first, reason: 'restored' }]);
    await client.query('truncate lockstep.look_wanted');
    await product.project([product.seen({ n: 1, modified: '09:00:00', observed: '10:11:00', Product_Name: 'First', Product_Code: 'X', Unit_Price: '10.00' })]);
    await retry();
    expect(await standing()).toEqual([{ name: 'First', code: 'X' }, { name: 'Second', code: 'Y' }]);
    // It is over: a smaller look that comes later leaves the value, and wants nothing.
    await product.project([seenInPart('10:20:00', '10:20:00')]);
    expect(await standing()).toEqual([{ name: 'First', code: 'X' }, { name: 'Second', code: 'Y' }]);
    expect(await rows('select record_id from lockstep.look_wanted')).toEqual([]);
  });

  test('keeps a value that may not be null, and both wait', async () => {
    await client.query('alter table public.products alter column product_code set not null');
    await taken();
    expect(await retry()).toEqual({ resolved: 0, waiting: 2 });
    expect(await standing()).toEqual([{ name: 'First', code: 'X' }]);
    expect(await waits()).toEqual([{ id: first, code: '23503' }, { id: second, code: '23505' }]);
  });

  test('keeps a value that others refer to, and both wait', async () => {
    await client.query('alter table public.product_reviews add constraint of_code foreign key (code) references public.products (product_code) on update set null');
    await taken();
    expect(await retry()).toEqual({ resolved: 0, waiting: 2 });
    expect(await standing()).toEqual([{ name: 'First', code: 'X' }]);
    expect(await rows('select code from public.product_reviews')).toEqual([{ code: 'X' }]);
  });

  test('gives up nothing where the record that wants the value cannot have it for another reason', async () => {
    await client.query(`alter table public.products add constraint named check (product_name <> 'Second' or product_code is null)`);
    await product.projection.readTable(client);
    await taken();
    await retry();
    expect(await standing()).toEqual([{ name: 'First', code: 'X' }]);
    await client.query('alter table public.products drop constraint named');
  });
});
