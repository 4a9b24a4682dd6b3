import { coverageOf, leads, type ModuleDefinition, products } from '@lockstep/modules';
import { retryParked } from '@lockstep/projection';
import { coverage, encodeConfirmed } from '@lockstep/record-log';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { declared, deleted, Fixture, idOf, lead, partOf, seen, START_MS } from './testing.ts';
import { type Verification, verifyModule } from './verify-module.ts';

let fixture: Fixture;

beforeEach(async () => {
  fixture = await Fixture.open();
});
afterEach(() => fixture.close());

const verify = (module: ModuleDefinition = leads): Promise<Verification> => verifyModule(fixture.deps, fixture.projection(module), { topic: fixture.topic.name });

describe('a table that the projector wrote', () => {
  test('equals its log, whatever the log holds: newer and outdated contents, confirmations, deletions, returns, smaller coverages', async () => {
    const small = coverage(['Last_Name', 'City']);
    const one = seen(1, lead(1), { modified: 10 });
    await fixture.publish([
      ...declared(coverageOf(leads)),
      ...declared(small),
      ...Array.from({ length: 400 }, (_, n) => seen(n, lead(n), { modified: 10 })),
      ...Array.from({ length: 60 }, (_, n) => seen(n, lead(n, { City: 'Rome' }), { modified: 20 })),
      ...Array.from({ length: 60 }, (_, n) => seen(n, lead(n, { City: 'Outdated' }), { modified: 15 })),
      { id: idOf(100), value: encodeConfirmed({ id: idOf(100), modifiedMs: START_MS + 10_000, observedMs: START_MS + 900_000, hash: seen(100, lead(100), { modified: 10 }).hash }) },
      { id: one.id, value: encodeConfirmed({ id: one.id, modifiedMs: START_MS + 10_000, observedMs: START_MS + 900_000, hash: one.hash }) },
      ...Array.from({ length: 20 }, (_, n) => deleted(n + 200, 300)),
      ...Array.from({ length: 5 }, (_, n) => seen(n + 200, lead(n, { City: 'Back' }), { modified: 600 })),
      ...Array.from({ length: 70 }, (_, n) => seen(n + 300, { Last_Name: `Renamed ${n}`, City: 'Oslo' }, { modified: 40, covered: small })),
      deleted(9_000, 10),
    ]);
    await fixture.project(leads, 37);
    const { counts, found, records, messages } = await verify();
    expect({ counts, found }).toEqual({ counts: {}, found: [] });
    expect(records).toBe(401);
    expect(messages).toBe(fixture.length);
    expect(await fixture.sql(`select company, city from leads where id = ${idOf(300)}`)).toEqual([{ company: 'Ada & Söhne\t\\', city: 'Oslo' }]);
  });

  test('equals its log where deleted rows are removed', async () => {
    await fixture.publish([...declared(coverageOf(products)), ...Array.from({ length: 90 }, (_, n) => seen(n, { Product_Name: `P ${n}` }, { module: products })), ...Array.from({ length: 30 }, (_, n) => deleted(n, 500))]);
    await fixture.project(products);
    expect((await verify(products)).found).toEqual([]);
    await fixture.sql(`insert into products (id, modified_time, product_name) values ($1, now(), 'risen')`, [idOf(3)]);
    expect((await verify(products)).found).toEqual([{ kind: 'row too many', id: idOf(3), isUnknown: false }]);
  });

  test('is compared without what is parked', async () => {
    await fixture.publish([...declared(coverageOf(leads)), seen(1, lead(1)), seen(1, lead(1, { Last_Name: 'x'.repeat(5_000), Annual_Revenue: '1.001' }), { modified: 50 }), { id: idOf(2), value: 'no event' }]);
    await fixture.project();
    expect(await fixture.sql('select count(*)::int as parked from lockstep.parked')).toEqual([{ parked: 2 }]);
    expect(await verify()).toMatchObject({ found: [], parked: 2 });
  });
});

test('a row whose removal waits is not compared: it may have given up a unique value to another record', async () => {
  await fixture.sql('alter table products add constraint one_code unique (product_code)');
  await fixture.publish([...declared(coverageOf(products)), seen(1, { Product_Code: 'X' }, { module: products })]);
  await fixture.project(products);
  await fixture.sql('insert into product_reviews (product_id, stars) values ($1, 5)', [idOf(1)]);
  await fixture.publish([deleted(1, 500), seen(2, { Product_Code: 'X' }, { module: products, modified: 600 })]);
  await fixture.project(products);
  const client = await fixture.db.pool.connect();
  await client.query(`update lockstep.parked set tried_at = now() - interval '1 hour'`);
  await retryParked(client, fixture.projection(products));
  client.release();
  expect(await fixture.sql('select product_code from products order by id')).toEqual([{ product_code: null }, { product_code: 'X' }]);
  expect(await verify(products)).toMatchObject({ found: [], parked: 1 });
  await fixture.sql(`update products set product_name = 'by hand' where id = $1`, [idOf(2)]);
  expect(await verify(products)).toMatchObject({ counts: { 'row differs': 1 } });
});

describe('damage', () => {
  beforeEach(async () => {
    await fixture.publish([...declared(coverageOf(leads)), ...Array.from({ length: 1_000 }, (_, n) => seen(n, lead(n), { modified: n }))]);
    await fixture.project();
  });

  test('of every kind is named exactly: rows edited, deleted, inserted, register entries changed', async () => {
    const ids = (from: number, count: number): string[] => Array.from({ length: count }, (_, n) => idOf(from + n));
    await fixture.sql(`update leads set company = 'by hand', city = '' where id = any($1::bigint[])`, [ids(0, 100)]);
    await fixture.sql('delete from leads where id = any($1::bigint[])', [ids(100, 50)]);
    await fixture.sql(`insert into leads (id, modified_time, last_name) select n, now(), 'made up' from unnest($1::bigint[]) n`, [ids(5_000, 20)]);
    await fixture.sql('update lockstep.record_version set observed_ms = observed_ms + 1 where record_id = any($1::bigint[])', [ids(200, 10)]);
    await fixture.sql('delete from lockstep.record_version where record_id = any($1::bigint[])', [ids(300, 2)]);
    const { counts, found } = await verify();
    expect(counts).toEqual({ 'row differs': 100, 'row missing': 50, 'row too many': 20, 'register entry differs': 10, 'register entry missing': 2 });
    const idsOf = (kind: string): string[] => found.filter((one) => one.kind === kind).map(({ id }) => id).toSorted();
    expect(idsOf('row differs')).toEqual(ids(0, 100));
    expect(idsOf('row missing')).toEqual(ids(100, 50));
    expect(idsOf('row too many')).toEqual(ids(5_000, 20));
    expect(idsOf('register entry differs')).toEqual(ids(200, 10));
    const offset = fixture.offsetOf(idOf(7));
    expect(found.find((one) => one.kind === 'row differs' && one.id === idOf(7))).toEqual({
      kind: 'row differs',
      id: idOf(7),
      values: [
        { column: 'company', inTable: 'by hand', byLog: 'Ada & Söhne\t\\', partition: partOf(idOf(7)), offset },
        { column: 'city', inTable: '', byLog: null, partition: partOf(idOf(7)), offset },
      ],
    });
    expect(found.find((one) => one.kind === 'register entry differs')).toMatchObject({ values: [{ column: 'observed_ms' }] });
  });

  test('is found while nothing is written', async () => {
    await fixture.sql('delete from leads where id = $1', [idOf(5)]);
    const state = () => fixture.sql('select xmin::text, * from leads order by id');
    const before = await state();
    expect((await verify()).counts).toEqual({ 'row missing': 1 });
    expect(await state()).toEqual(before);
  });

  test('columns and rows of others are none', async () => {
    await fixture.sql(`update leads set account_manager = 'ours'`);
    expect((await verify()).found).toEqual([]);
  });
});

describe('refused, with what to do', () => {
  test('a topic that was created again', async () => {
    await fixture.publish([...declared(coverageOf(leads)), seen(1, lead(1))]);
    await fixture.project();
    await fixture.sql(`update lockstep.projection_offset set topic_id = 'another'`);
    await expect(verify()).rejects.toMatchObject({ code: 'LOG_INCOMPLETE' });
  });

  test('a log whose end is lost', async () => {
    await fixture.publish([...declared(coverageOf(leads)), seen(1, lead(1))]);
    await fixture.project();
    await fixture.sql('update lockstep.projection_offset set next_offset = next_offset + 1');
    await expect(verify()).rejects.toMatchObject({ code: 'LOG_INCOMPLETE' });
  });

  test('a module of which nothing was projected, and a mapping that is not the projector\'s', async () => {
    await expect(verify()).rejects.toMatchObject({ code: 'NOTHING_PROJECTED' });
    await fixture.publish([...declared(coverageOf(leads)), seen(1, lead(1))]);
    await fixture.project();
    await fixture.sql(`update lockstep.mapping set fingerprint = 'another'`);
    await expect(verify()).rejects.toMatchObject({ code: 'MAPPING_CHANGED' });
  });
});

test('a row that was made up is found whatever its key consists of', async () => {
  const module = { ...leads, table: { schema: 'public', name: 'keyed' } };
  await fixture.sql('create table public.keyed (like leads including defaults); alter table public.keyed alter id type varchar(40), add primary key (id)');
  await fixture.publish([...declared(coverageOf(leads)), ...Array.from({ length: 40 }, (_, n) => seen(n, lead(n)))]);
  await fixture.project(module);
  const keys = ['', ' 7', '005', 'Müller', '😀', 'back\\slash', 'tab\tin'];
  for (const key of keys) await fixture.sql(`insert into public.keyed (id, modified_time, last_name) values ($1, now(), 'made up')`, [key]);
  const { found } = await verify(module);
  expect(new Set(found)).toEqual(new Set(keys.map((id) => ({ kind: 'row too many', id, isUnknown: true }))));
});
