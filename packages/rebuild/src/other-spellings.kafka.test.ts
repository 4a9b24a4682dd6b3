import { coverageOf, leads, type ModuleDefinition, products } from '@lockstep/modules';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { rebuildModule } from './rebuild-module.ts';
import { declared, deleted, Fixture, idOf, lead, partOf, seen } from './testing.ts';
import { verifyModule } from './verify-module.ts';

/* A numeric key without a scale keeps how it was written: 7 and 7.0 are equal, and not the same. */

let fixture: Fixture;
const module: ModuleDefinition = { ...leads, table: { schema: 'public', name: 'keyed' } };

beforeEach(async () => {
  fixture = await Fixture.open();
});
afterEach(() => fixture.close());

const options = () => ({ topic: fixture.topic.name });
const keysOf = async (ids: readonly string[]): Promise<unknown[]> => (await fixture.sql('select id::text as id from public.keyed where id = any($1::numeric[]) order by id', [ids])).map(({ id }) => id);

test('a key that was written with decimals is named, and written back as the log has it', async () => {
  await fixture.sql('create table public.keyed (like leads including defaults); alter table public.keyed alter id type numeric, add primary key (id); create table public.visits (lead_id numeric references public.keyed (id))');
  await fixture.publish([...declared(coverageOf(leads)), ...Array.from({ length: 40 }, (_, n) => seen(n, lead(n)))]);
  await fixture.project(module);
  expect((await verifyModule(fixture.deps, fixture.projection(module), options())).counts).toEqual({});
  const some = [3, 4, 5].map(idOf);
  await fixture.sql('insert into public.visits values ($1)', [some[0]]);
  await fixture.sql('update public.keyed set id = id + 0.0 where id = any($1::numeric[])', [some]);
  await fixture.sql(`update public.keyed set company = 'by hand' where id = $1`, [some[2]]);
  const { counts, found } = await verifyModule(fixture.deps, fixture.projection(module), options());
  expect(counts).toEqual({ 'row differs': 3 });
  const key = (id: string) => ({ column: 'id', inTable: `${id}.0`, byLog: id, partition: partOf(id), offset: fixture.offsetOf(id) });
  expect(found.toSorted((a, b) => a.id.localeCompare(b.id))).toEqual([
    { kind: 'row differs', id: some[0], values: [key(some[0] as string)] },
    { kind: 'row differs', id: some[1], values: [key(some[1] as string)] },
    { kind: 'row differs', id: some[2], values: [key(some[2] as string), expect.objectContaining({ column: 'company', inTable: 'by hand' })] },
  ]);
  expect(await rebuildModule(fixture.deps, fixture.projection(module), options())).toMatchObject({ rows: 3, left: [], after: { counts: {} } });
  expect(await keysOf(some)).toEqual(some);
});

test('the row of a deleted record is too many by whatever spelling of its key', async () => {
  const removing: ModuleDefinition = { ...products, table: { schema: 'public', name: 'keyed' } };
  await fixture.sql('create table public.keyed (like products including defaults); alter table public.keyed alter id type numeric, add primary key (id)');
  await fixture.publish([...declared(coverageOf(products)), ...Array.from({ length: 4 }, (_, n) => seen(n, { Product_Name: `P ${n}` }, { module: products })), deleted(3, 500)]);
  await fixture.project(removing);
  await fixture.sql(`insert into public.keyed (id, modified_time, product_name) values ($1::numeric + 0.00, now(), 'risen')`, [idOf(3)]);
  expect((await verifyModule(fixture.deps, fixture.projection(removing), options())).found).toEqual([{ kind: 'row too many', id: idOf(3), isUnknown: false }]);
  expect(await rebuildModule(fixture.deps, fixture.projection(removing), options())).toMatchObject({ rows: 1, left: [], after: { counts: {} } });
  expect(await keysOf([idOf(3)])).toEqual([]);
});
