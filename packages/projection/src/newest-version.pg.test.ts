import { createTestDatabase, type TestDatabase } from '@lockstep/local-stack';
import { coverageOf, deals, leads, products } from '@lockstep/modules';
import { connect, type Database, migrate, readFreshness, wantedLooks } from '@lockstep/postgres';
import { encodeConfirmed, encodeDeleted, encodeSeen, type FieldValue } from '@lockstep/record-log';
import type { PoolClient } from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import type { LogMessage } from './fold-batch.ts';
import { adoptMapping } from './module-projection.ts';
import { type Retried, retryParked } from './retry-parked.ts';
import { at, recordId, Topic } from './testing.ts';

/** What is parked is compared with the register by version: a later offset is not a newer version. */
let testDatabase: TestDatabase;
let db: Database;
let client: PoolClient;
let topics: { readonly lead: Topic; readonly deal: Topic; readonly product: Topic };

beforeAll(async () => {
  testDatabase = await createTestDatabase({ legacySchema: true });
  db = await connect({ url: testDatabase.url, poolSize: 4 });
  await migrate(db, [leads, deals, products]);
  client = await db.pool.connect();
  await client.query(`
    alter table public.deals add constraint of_contact foreign key (contact_id) references public.leads (id), add constraint one_number unique (deal_number),
      add constraint no_overlap exclude using gist (int8range(contract_number, contract_number, '[]') with &&) where (contract_number is not null)`);
});
afterAll(async () => {
  client.release();
  await db.close();
  await testDatabase.drop();
});
beforeEach(clear);

async function clear(): Promise<void> {
  await client.query(`
    truncate public.leads, public.deals, public.products, public.product_reviews cascade;
    truncate lockstep.record_version, lockstep.projection_offset, lockstep.parked, lockstep.look_wanted`);
  topics = { lead: new Topic(client, leads), deal: new Topic(client, deals), product: new Topic(client, products) };
  for (const { projection } of Object.values(topics)) await adoptMapping(db.pool, projection);
}

const rows = async (sql: string): Promise<unknown[]> => (await client.query(sql)).rows;
const names = async (): Promise<unknown[]> => (await rows(`select deal_name || case when deleted_at is null then '' else ' (deleted)' end as name from public.deals order by id`)).map((row) => (row as { name: unknown }).name);
const overtake = (): Promise<void> => wantedLooks(db).resolveOvertaken();
const parked = async (module = 'Deals'): Promise<number> => (await readFreshness(db)).find((one) => one.module === module)?.parked ?? Number.NaN;
const kept = async (): Promise<unknown> => (await rows('select count(value)::int as n from lockstep.parked'))[0];
async function retry(topic: Topic = topics.deal): Promise<Retried> {
  await client.query(`update lockstep.parked set tried_at = now() - interval '1 hour' where resolved_at is null or value is not null`);
  return retryParked(client, topic.projection);
}

const deal = (values: Parameters<Topic['seen']>[0]): LogMessage => topics.deal.seen(values);
const contact = (): Promise<unknown> => topics.lead.project([topics.lead.seen({ n: 9, modified: '08:00:00', Last_Name: 'Parent' })]);
const confirmed = (message: LogMessage, observed: string): LogMessage => {
  const { id, m, hash, t } = JSON.parse(String(message.value)) as { id: string; m: number; hash: string; t?: number };
  return topics.deal.message(encodeConfirmed({ id, modifiedMs: m, observedMs: at(observed), hash, ...(t === undefined ? {} : { versionMs: t }) }));
};

/** What is in a version's way, and how it leaves. */
const conflicts: readonly [string, values: Record<string, FieldValue>, prepare: () => Promise<unknown>, clearAway: () => Promise<unknown>][] = [
  ['a foreign key', { Contact_Name: recordId(9) }, async () => undefined, contact],
  [
    'a unique value',
    { Deal_Number: 'taken' },
    () => topics.deal.project([deal({ n: 8, modified: '08:00:00', Deal_Name: 'Other', Deal_Number: 'taken' })]),
    () => topics.deal.project([deal({ n: 8, modified: '11:00:00', Deal_Name: 'Other', Deal_Number: 'free' })]),
  ],
  [
    'an exclusion constraint',
    { Contract_Number: '7' },
    () => topics.deal.project([deal({ n: 8, modified: '08:00:00', Deal_Name: 'Other', Contract_Number: '7' })]),
    () => topics.deal.project([deal({ n: 8, modified: '11:00:00', Deal_Name: 'Other', Contract_Number: '8' })]),
  ],
];

describe.each(conflicts)('a version that waits for %s', (_, values, prepare, clearAway) => {
  const first = async (): Promise<unknown> => (await names())[0];
  beforeEach(prepare);

  test('is not overtaken by an outdated row that comes later in the log', async () => {
    expect(await topics.deal.project([deal({ modified: '10:05:00', Deal_Name: 'New', ...values })])).toMatchObject({ waiting: 1 });
    await topics.deal.project([deal({ modified: '10:00:00', Deal_Name: 'Outdated' })]);
    await overtake();
    expect([await first(), await parked()]).toEqual(['Outdated', 1]);
    await clearAway();
    expect(await retry()).toEqual({ resolved: 1, waiting: 0 });
    expect([await first(), await parked(), await kept()]).toEqual(['New', 0, { n: 0 }]);
  });

  test('is overtaken by a newer version that was applied, whichever comes first', async () => {
    await topics.deal.project([deal({ modified: '10:10:00', Deal_Name: 'Newest' })]);
    await topics.deal.project([deal({ modified: '10:05:00', Deal_Name: 'New', ...values })]);
    await overtake();
    expect([await first(), await parked(), await kept()]).toEqual(['Newest', 0, { n: 0 }]);
    await topics.deal.project([deal({ modified: '10:15:00', Deal_Name: 'Late', ...values })]);
    await topics.deal.project([deal({ modified: '10:20:00', Deal_Name: 'Latest' })]);
    await overtake();
    await clearAway();
    await retry();
    expect([await first(), await parked(), await kept()]).toEqual(['Latest', 0, { n: 0 }]);
  });

  test('competes with the time of its version, where it is a repair', async () => {
    await topics.deal.project([deal({ modified: '23:00:00', observed: '09:00:00', Deal_Name: 'Imported' })]);
    await topics.deal.project([topics.deal.repaired({ modified: '10:05:00', version: '23:00:00', observed: '10:06:00', Deal_Name: 'Repaired', ...values })]);
    await topics.deal.project([deal({ modified: '10:20:00', Deal_Name: 'Outdated' })]);
    await overtake();
    expect([await first(), await parked()]).toEqual(['Imported', 1]);
    await clearAway();
    await retry();
    expect([await first(), await parked()]).toEqual(['Repaired', 0]);
  });

  test('is overtaken by a repair', async () => {
    await topics.deal.project([deal({ modified: '10:05:00', Deal_Name: 'New', ...values })]);
    await topics.deal.project([topics.deal.repaired({ modified: '09:00:00', version: '10:05:00', observed: '10:06:00', Deal_Name: 'Repaired' })]);
    await overtake();
    expect(await parked()).toBe(0);
    await clearAway();
    await retry();
    expect(await first()).toBe('Repaired');
  });

  test('is outdated by a look at an older one that began too late to have seen it before: the CRM stamps with times of before', async () => {
    await topics.deal.project([deal({ modified: '10:05:00', Deal_Name: 'Stamped later', ...values })]);
    await topics.deal.project([deal({ modified: '09:20:00', observed: '10:15:02', Deal_Name: 'Seen later', ...values })]);
    expect(await retry()).toEqual({ resolved: 0, waiting: 2 });
    await clearAway();
    expect(await retry()).toEqual({ resolved: 2, waiting: 0 });
    expect([await first(), await parked(), await kept()]).toEqual(['Seen later', 0, { n: 0 }]);
  });

  test('stamped with a time to come counts as observed when it was parked, however often it is tried', async () => {
    await topics.deal.project([deal({ modified: '10:50:00', observed: '10:06:00', Deal_Name: 'To come', ...values })]);
    await client.query(`update lockstep.parked set parked_at = to_timestamp($1 / 1000.0)`, [at('10:06:01')]);
    await retry();
    await topics.deal.project([deal({ modified: '10:00:00', observed: '10:16:00', Deal_Name: 'Edited since' })]);
    await overtake();
    expect(await parked()).toBe(1);
    await topics.deal.project([deal({ modified: '10:00:00', observed: '10:16:02', Deal_Name: 'Edited since' })]);
    await overtake();
    expect([await first(), await parked()]).toEqual(['Edited since', 0]);
  });

  test.each([['in order', ['10:05:00', '10:10:00']], ['reversed', ['10:10:00', '10:05:00']]])('two of one record, %s: the newer stands', async (__, order) => {
    for (const modified of order) await topics.deal.project([deal({ modified, Deal_Name: modified, ...values })]);
    await topics.deal.project([deal({ modified: '10:00:00', Deal_Name: 'Outdated' })]);
    await overtake();
    expect([await first(), await parked()]).toEqual(['Outdated', 2]);
    await clearAway();
    await retry();
    expect([await first(), await parked()]).toEqual(['10:10:00', 0]);
  });

  test('of the same second: the later look stands, then the hash', async () => {
    await topics.deal.project([deal({ modified: '10:05:00', observed: '10:06:00', Deal_Name: 'Later look', ...values })]);
    await topics.deal.project([deal({ modified: '10:05:00', observed: '10:05:30', Deal_Name: 'Earlier look' })]);
    await overtake();
    expect([await first(), await parked()]).toEqual(['Earlier look', 1]);
    await topics.deal.project([deal({ modified: '10:05:00', observed: '10:06:01', Deal_Name: 'Latest look' })]);
    await overtake();
    expect([await first(), await parked()]).toEqual(['Latest look', 0]);
  });

  test('when the record returned to what stands, is resolved by a look that began late enough, and does not win when it fits', async () => {
    const stands = deal({ modified: '10:00:00', Deal_Name: 'Stands' });
    await topics.deal.project([stands]);
    await topics.deal.project([deal({ modified: '10:05:00', Deal_Name: 'For a while', ...values })]);
    // A read that lags answers with the older content: that is no return.
    await topics.deal.project([confirmed(stands, '10:14:00')]);
    await overtake();
    expect(await parked()).toBe(1);
    await topics.deal.project([confirmed(stands, '10:15:01')]);
    await clearAway();
    expect(await retry()).toEqual({ resolved: 1, waiting: 0 });
    expect([await first(), await parked(), await kept()]).toEqual(['Stands', 0, { n: 0 }]);
  });

  test('when the record is dead after it, counts no more; it still becomes the row\'s when it fits', async () => {
    await topics.deal.project([deal({ modified: '10:00:00', Deal_Name: 'Stands' }), deal({ modified: '10:05:00', Deal_Name: 'Last', ...values })]);
    await topics.deal.project([topics.deal.deleted('10:03:30')]);
    await overtake();
    expect(await parked()).toBe(1);
    await topics.deal.project([topics.deal.deleted('10:05:00')]);
    await overtake();
    expect([await first(), await parked()]).toEqual(['Stands (deleted)', 0]);
    await clearAway();
    await retry();
    expect([await first(), await parked(), await kept()]).toEqual(['Last (deleted)', 0, { n: 0 }]);
  });

  test('of a record that died and returned to what stands, never wins', async () => {
    await topics.deal.project([deal({ modified: '10:00:00', Deal_Name: 'Stands' }), deal({ modified: '10:05:00', Deal_Name: 'For a while', ...values })]);
    await topics.deal.project([topics.deal.deleted('10:10:00')]);
    await overtake();
    await topics.deal.project([deal({ modified: '10:00:00', observed: '10:30:00', Deal_Name: 'Stands' })]);
    await clearAway();
    await retry();
    await overtake();
    expect([await first(), await parked(), await kept()]).toEqual(['Stands', 0, { n: 0 }]);
  });
});

describe('a version that is parked for good', () => {
  const tooLarge = (modified: string, observed = modified): LogMessage => deal({ modified, observed, Deal_Name: 'Too large', Amount: '1'.repeat(20) });

  test('is resolved by a newer or equal version only, not by an outdated one that comes later', async () => {
    await topics.deal.project([tooLarge('10:05:00')]);
    await topics.deal.project([deal({ modified: '10:00:00', Deal_Name: 'Outdated' })]);
    await overtake();
    expect(await parked()).toBe(1);
    await topics.deal.project([deal({ modified: '10:05:00', observed: '10:06:00', Deal_Name: 'Corrected' })]);
    await overtake();
    expect([await names(), await parked()]).toEqual([['Corrected'], 0]);
  });

  test('is resolved when it comes after the version that overtakes it', async () => {
    await topics.deal.project([deal({ modified: '10:10:00', Deal_Name: 'Newer' }), tooLarge('10:05:00')]);
    await overtake();
    expect(await parked()).toBe(0);
  });

  test('is resolved when the record returns to the content that stands', async () => {
    const stands = deal({ modified: '10:00:00', Deal_Name: 'Stands' });
    await topics.deal.project([stands]);
    await topics.deal.project([tooLarge('10:05:00')]);
    await topics.deal.project([confirmed(stands, '10:10:00')]);
    await overtake();
    expect(await parked()).toBe(1);
    await topics.deal.project([confirmed(stands, '10:16:00')]);
    await overtake();
    expect(await parked()).toBe(0);
  });

  test('is resolved when the modified time did not move, and a later look confirms what stands', async () => {
    const stands = deal({ modified: '10:00:00', observed: '10:00:00', Deal_Name: 'Stands' });
    await topics.deal.project([stands, tooLarge('10:00:00', '10:03:00')]);
    await overtake();
    expect(await parked()).toBe(1);
    await topics.deal.project([confirmed(stands, '10:04:00')]);
    await overtake();
    expect(await parked()).toBe(0);
  });

  test('is resolved by a deletion after it, not by one before it', async () => {
    await topics.deal.project([tooLarge('10:05:00'), topics.deal.deleted('10:03:00')]);
    await overtake();
    expect(await parked()).toBe(1);
    await topics.deal.project([topics.deal.deleted('10:06:00')]);
    await overtake();
    expect(await parked()).toBe(0);
  });

  test('is in the way of no older one, once the record is dead after both', async () => {
    await topics.deal.project([deal({ modified: '10:00:00', Deal_Name: 'Waits', Contact_Name: recordId(9) }), tooLarge('10:20:00')]);
    await contact();
    await retry();
    expect([await names(), await parked()]).toEqual([[], 2]);
    await topics.deal.project([topics.deal.deleted('10:30:00')]);
    await overtake();
    await retry();
    expect([await names(), await parked(), await kept()]).toEqual([['Waits (deleted)'], 0, { n: 1 }]);
  });

  test('without a readable version, is resolved by a look that began clearly after it was parked', async () => {
    const [now, margin] = [Date.now(), 10 * 60_000];
    const seenAt = (ms: number): LogMessage => topics.deal.message(encodeSeen({ id: recordId(1), modifiedMs: ms, observedMs: ms, coverage: coverageOf(deals).id, fields: coverageOf(deals).fields.map(() => null) }).value);
    await topics.deal.project([topics.deal.message(`{"v":1,"type":"seen","id":"${recordId(1)}","m":"yesterday"}`), seenAt(now + margin - 60_000)]);
    await overtake();
    expect(await rows('select record_id, code from lockstep.parked where resolved_at is null')).toEqual([{ record_id: recordId(1), code: 'EVENT_MALFORMED' }]);
    await topics.deal.project([seenAt(now + margin + 60_000)]);
    await overtake();
    expect(await parked()).toBe(0);
  });

  test('without a readable record, or with one that is no id, stays until a person resolves it, and is in no other\'s way', async () => {
    await topics.deal.project([topics.deal.message('{'), topics.deal.message(encodeDeleted({ id: '9999999999999999999', deletedMs: at('10:00:00') })), tooLarge('10:00:00')]);
    await topics.deal.project([deal({ modified: '10:05:00', Deal_Name: 'Newer' })]);
    await overtake();
    expect(await rows('select record_id from lockstep.parked where resolved_at is null order by id')).toEqual([{ record_id: null }, { record_id: '9999999999999999999' }]);
    await client.query('update lockstep.parked set resolved_at = now(), value = null where resolved_at is null');
    expect(await parked()).toBe(0);
  });
});

describe('a removal that waits', () => {
  beforeEach(async () => {
    await topics.product.project([topics.product.seen({ modified: '09:00:00', Product_Name: 'A' })]);
    await client.query(`insert into public.product_reviews (product_id, stars) values (${recordId(1)}, 5)`);
    await topics.product.project([topics.product.deleted('10:00:00')]);
  });
  const products = () => rows('select product_name as name from public.products');

  test('is overtaken by a later deletion, not by any content', async () => {
    await topics.product.project([topics.product.seen({ modified: '09:30:00', Product_Name: 'B' })]);
    await overtake();
    expect(await parked('Products')).toBe(1);
    await client.query('delete from public.product_reviews');
    await topics.product.project([topics.product.deleted('10:20:00')]);
    await overtake();
    expect([await products(), await parked('Products'), await kept()]).toEqual([[], 0, { n: 0 }]);
  });

  test('counts no more once the record lives again, and takes nothing from it', async () => {
    await topics.product.project([topics.product.seen({ modified: '09:00:00', observed: '10:02:00', Product_Name: 'Restored' })]);
    await overtake();
    expect(await parked('Products')).toBe(0);
    await retry(topics.product);
    expect([await products(), await kept()]).toEqual([[{ name: 'Restored' }], { n: 0 }]);
    await client.query('delete from public.product_reviews');
    await topics.product.project([topics.product.seen({ modified: '09:40:00', observed: '10:00:30', Product_Name: 'Stale' })]);
    expect(await products()).toEqual([]);
  });
});

test('a log that is read again from its beginning parks and applies again what waited', async () => {
  const waits = deal({ modified: '10:05:00', Deal_Name: 'Waits', Contact_Name: recordId(9) });
  await topics.deal.project([waits]);
  await contact();
  await retry();
  expect([await names(), await parked()]).toEqual([['Waits'], 0]);
  await client.query('truncate public.leads, public.deals cascade; truncate lockstep.record_version; update lockstep.projection_offset set next_offset = 0');
  expect(await topics.deal.project([waits], { from: 0 })).toMatchObject({ waiting: 1 });
  expect([await names(), await parked()]).toEqual([[], 1]);
  await client.query(`insert into public.leads (id) values (${recordId(9)})`);
  await retry();
  expect([await names(), await parked()]).toEqual([['Waits'], 0]);
});
