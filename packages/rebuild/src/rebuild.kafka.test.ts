import { coverageOf, leads, type ModuleDefinition, products } from '@lockstep/modules';
import { coverage } from '@lockstep/record-log';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { rebuildModule, type RebuildOptions, type Rebuilt } from './rebuild-module.ts';
import { declared, deleted, Fixture, idOf, lead, seen } from './testing.ts';
import { type Verification, verifyModule } from './verify-module.ts';

let fixture: Fixture;

beforeEach(async () => {
  fixture = await Fixture.open();
});
afterEach(() => fixture.close());

const rebuild = (options: RebuildOptions = {}, module: ModuleDefinition = leads): Promise<Rebuilt> => rebuildModule(fixture.deps, fixture.projection(module), { topic: fixture.topic.name, ...options });
const verify = (): Promise<Verification> => verifyModule(fixture.deps, fixture.projection(), { topic: fixture.topic.name });
const ids = (from: number, count: number): string[] => Array.from({ length: count }, (_, n) => idOf(from + n));

/** Rows with the transaction that wrote them. */
const state = (): Promise<unknown[]> => Promise.all([fixture.sql('select xmin::text, * from leads order by id'), fixture.sql('select xmin::text, * from lockstep.record_version order by record_id')]);

describe('a table of 1,000 leads', () => {
  beforeEach(async () => {
    await fixture.publish([...declared(coverageOf(leads)), ...Array.from({ length: 1_000 }, (_, n) => seen(n, lead(n), { modified: n })), ...Array.from({ length: 30 }, (_, n) => deleted(n + 900, 5_000))]);
    await fixture.project();
  });

  test('gets no write where it is right', async () => {
    const before = await state();
    expect(await rebuild()).toMatchObject({ rows: 0, entries: 0, after: { found: [] } });
    expect(await state()).toEqual(before);
  });

  test('is made right again, whatever was done to it, and what belongs to others stays', async () => {
    await fixture.sql(`
      create view good_leads as select id, company from leads;
      create table visits (id int primary key, lead_id bigint references leads (id));
      create table changes (id bigint);
      create function note_change() returns trigger language plpgsql as 'begin insert into changes values (new.id); return new; end';
      create trigger noting after insert or update on leads for each row execute function note_change();
      update leads set account_manager = 'of ' || id`);
    await fixture.sql('insert into visits values (1, $1), (2, $2)', [idOf(1), idOf(500)]);
    const expected = await fixture.sql('select * from leads order by id');
    await fixture.sql(`update leads set company = 'by hand', city = '', modified_time = now() where id = any($1::bigint[])`, [ids(0, 100)]);
    await fixture.sql(`update leads set deleted_at = null where id = any($1::bigint[])`, [ids(900, 5)]);
    await fixture.sql('delete from leads where id = any($1::bigint[])', [ids(100, 50)]);
    await fixture.sql(`insert into leads (id, modified_time, last_name) select n, now(), 'made up' from unnest($1::bigint[]) n`, [ids(5_000, 20)]);
    await fixture.sql('update lockstep.record_version set observed_ms = observed_ms + 1 where record_id = any($1::bigint[])', [ids(200, 10)]);
    await fixture.sql('delete from lockstep.record_version where record_id = any($1::bigint[])', [ids(300, 3)]);
    await fixture.sql(`insert into lockstep.record_version (module, record_id, deleted_ms, log_partition, log_offset) values ('Leads', 12, 1, 0, 0); truncate changes`);
    const untouched = await fixture.sql('select xmin::text, id from leads where id > $1 and id < $2 order by id', [idOf(400), idOf(899)]);

    const { before, rows, entries, left, after } = await rebuild({ isUnknownRemoved: true });
    expect(before.counts).toEqual({ 'row differs': 105, 'row missing': 50, 'row too many': 20, 'register entry differs': 10, 'register entry missing': 3, 'register entry too many': 1 });
    expect({ rows, entries, left, counts: after.counts }).toEqual({ rows: 175, entries: 14, left: [], counts: {} });
    // The rows that were deleted lost what was the application's own.
    const lost = new Set(ids(100, 50));
    expect(await fixture.sql('select * from leads order by id')).toEqual(expected.map((row) => (lost.has(String(row['id'])) ? { ...row, account_manager: null } : row)));
    expect(await fixture.sql('select xmin::text, id from leads where id > $1 and id < $2 order by id', [idOf(400), idOf(899)])).toEqual(untouched);
    expect(await fixture.sql('select count(*)::int as n from changes')).toEqual([{ n: 155 }]);
    expect(await fixture.sql('select count(*)::int as n from good_leads')).toEqual([{ n: 1_000 }]);
  });

  test('gets a row back that several contents speak of, each of its fields from the newest that does', async () => {
    const small = coverage(['Last_Name', 'City']);
    await fixture.publish([...declared(small), seen(7, { Last_Name: 'Renamed', City: 'Oslo' }, { modified: 2_000, covered: small })]);
    await fixture.project();
    const before = await fixture.sql('select * from leads where id = $1', [idOf(7)]);
    expect(before).toMatchObject([{ last_name: 'Renamed', city: 'Oslo', company: 'Ada & Söhne\t\\' }]);
    await fixture.sql('delete from leads where id = $1', [idOf(7)]);
    expect(await rebuild()).toMatchObject({ rows: 1, after: { found: [] } });
    expect(await fixture.sql('select * from leads where id = $1', [idOf(7)])).toEqual(before);
    await fixture.sql(`update leads set company = 'by hand', city = 'by hand' where id = $1`, [idOf(7)]);
    expect((await verify()).found).toEqual([{
      kind: 'row differs',
      id: idOf(7),
      values: [
        expect.objectContaining({ column: 'company', offset: fixture.offsetOf(idOf(7)) }) as unknown,
        expect.objectContaining({ column: 'city', offset: fixture.offsetOf(idOf(7), 'Renamed') }) as unknown,
      ],
    }]);
  });

  test('keeps rows that the log says nothing of, unless they are to be removed', async () => {
    await fixture.sql(`insert into leads (id, modified_time, last_name) values (17, now(), 'of the application')`);
    expect(await rebuild()).toMatchObject({ rows: 0, after: { counts: { 'row too many': 1 }, found: [{ kind: 'row too many', id: '17', isUnknown: true }] } });
    expect(await rebuild({ isUnknownRemoved: true })).toMatchObject({ rows: 1, after: { found: [] } });
  });

  test('keeps such rows also where the register has an entry that was made up, or a position was lost', async () => {
    await fixture.sql(`insert into leads (id, modified_time, last_name) values (17, now(), 'of the application')`);
    await fixture.sql(`insert into lockstep.record_version (module, record_id, log_partition, log_offset) values ('Leads', 17, 0, 0)`);
    expect(await rebuild()).toMatchObject({ rows: 0, entries: 1, after: { counts: { 'row too many': 1 } } });
    const rows = await fixture.sql('select * from leads order by id');
    await fixture.sql('delete from lockstep.projection_offset where partition = 1');
    expect(await rebuild()).toMatchObject({ rows: 0 });
    expect(await fixture.sql('select * from leads order by id')).toEqual(rows);
    await rebuild({ isUnknownRemoved: true });
    expect(await fixture.sql('select * from leads order by id')).toEqual(rows.filter(({ id }) => String(id) !== '17'));
  });

  test('is made right but for rows that cannot be written, which are named with the cause', async () => {
    await fixture.sql(`create table visits (id int primary key, lead_id bigint references leads (id))`);
    await fixture.sql(`insert into leads (id, modified_time, last_name) select n, now(), 'made up' from unnest($1::bigint[]) n`, [ids(5_000, 3)]);
    await fixture.sql('insert into visits values (1, $1)', [idOf(5_001)]);
    await fixture.sql(`update leads set company = 'by hand' where id = any($1::bigint[])`, [ids(0, 20)]);
    const { rows, left, after } = await rebuild({ isUnknownRemoved: true });
    expect({ rows, left, counts: after.counts }).toEqual({ rows: 22, left: [{ id: idOf(5_001), cause: expect.stringContaining('visits') as unknown }], counts: { 'row too many': 1 } });
  });

  test('that the projector changes meanwhile ends with the newer contents', async () => {
    await fixture.sql(`update leads set company = 'by hand' where id = any($1::bigint[])`, [ids(0, 50)]);
    await fixture.sql(`
      create table reverted (id bigint);
      create function note_reverted() returns trigger language plpgsql as 'begin if old.city = ''Newer'' then insert into reverted values (old.id); end if; return new; end';
      create trigger reverting after update on leads for each row execute function note_reverted()`);
    let racing: Promise<void> | undefined;
    const { after } = await rebuild({
      onProgress: () => {
        // Within the snapshot's life, so that what is found is outdated.
        racing ??= fixture.publish(Array.from({ length: 30 }, (_, n) => seen(n, lead(n, { City: 'Newer' }), { modified: 9_000 }))).then(() => fixture.project());
      },
    });
    await racing;
    expect((await verify()).counts).toEqual({});
    expect(after.counts).toEqual({});
    expect(await fixture.sql(`select count(*)::int as n from leads where city = 'Newer'`)).toEqual([{ n: 30 }]);
    expect(await fixture.sql('select * from reverted')).toEqual([]);
  });
});

test('a table whose deleted rows are removed is made right again', async () => {
  await fixture.publish([...declared(coverageOf(products)), ...Array.from({ length: 90 }, (_, n) => seen(n, { Product_Name: `P ${n}` }, { module: products })), ...Array.from({ length: 30 }, (_, n) => deleted(n, 500))]);
  await fixture.project(products);
  await fixture.sql(`insert into products (id, modified_time, product_name) values ($1, now(), 'risen')`, [idOf(3)]);
  await fixture.sql(`update products set product_name = null where id = $1`, [idOf(50)]);
  await fixture.sql('delete from products where id = $1', [idOf(51)]);
  expect(await rebuild({}, products)).toMatchObject({ rows: 3, entries: 0, after: { found: [] } });
});

describe('a database that was lost', () => {
  let expected: Record<string, unknown>[];
  let register: Record<string, unknown>[];
  const parked = () => fixture.sql('select partition, log_offset, code, record_id from lockstep.parked order by partition, log_offset');
  let wasParked: Record<string, unknown>[];

  beforeEach(async () => {
    await fixture.publish([
      ...declared(coverageOf(leads)),
      ...Array.from({ length: 500 }, (_, n) => seen(n, lead(n), { modified: n })),
      ...Array.from({ length: 100 }, (_, n) => seen(n, lead(n, { City: 'Rome' }), { modified: 1_000 })),
      ...Array.from({ length: 30 }, (_, n) => deleted(n + 200, 5_000)),
      seen(1, lead(1, { Annual_Revenue: '1.001' }), { modified: 2_000 }),
      { id: idOf(3), value: 'no event' },
    ]);
    await fixture.project();
    expected = await fixture.sql('select * from leads order by id');
    register = await fixture.sql('select * from lockstep.record_version order by record_id');
    wasParked = await parked();
    await fixture.loseDatabase();
  });

  test('comes back from the log alone: register, positions, rows, and what is parked', async () => {
    expect(await rebuild()).toMatchObject({ replayed: fixture.length, rows: 0, entries: 0, after: { found: [], parked: 2 } });
    expect(await fixture.sql('select * from leads order by id')).toEqual(expected);
    expect(await fixture.sql('select * from lockstep.record_version order by record_id')).toEqual(register);
    expect(await parked()).toEqual(wasParked);
    expect(wasParked).toHaveLength(2);
    expect(await fixture.sql('select sum(next_offset)::int as n from lockstep.projection_offset')).toEqual([{ n: fixture.length }]);
  });

  // A partition is written while the next one is folded, so the first of three stands only once the third is read.
  test.each([[1, false], [500, true]])('comes back where the first attempt was ended after %i messages or so', async (after, hasBegun) => {
    await expect(rebuild({ onProgress: ({ messages }) => { if (messages >= after) throw new Error('ended'); } })).rejects.toThrow('ended');
    expect(await fixture.sql('select sum(next_offset)::int < $1 as is_unfinished, sum(next_offset)::int > 0 as has_begun from lockstep.projection_offset', [fixture.length])).toEqual([{ is_unfinished: true, has_begun: hasBegun }]);
    expect(await rebuild()).toMatchObject({ after: { found: [] } });
    expect(await fixture.sql('select * from leads order by id')).toEqual(expected);
    expect(await fixture.sql('select * from lockstep.record_version order by record_id')).toEqual(register);
    expect(await parked()).toEqual(wasParked);
  });

  test('comes back onto rows that are left of it', async () => {
    await fixture.sql(`insert into leads (id, modified_time, last_name, account_manager) values ($1, now(), 'left over', 'ours')`, [idOf(7)]);
    await rebuild();
    const [row] = expected.filter(({ id }) => id === idOf(7));
    expect(await fixture.sql('select * from leads where id = $1', [idOf(7)])).toEqual([{ ...row, account_manager: 'ours' }]);
  });
});
