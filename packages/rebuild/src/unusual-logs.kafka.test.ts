import { coverageOf, defineModule, leads, type ModuleDefinition, products } from '@lockstep/modules';
import { noteEpsilon, wantedLooks } from '@lockstep/postgres';
import { coverage } from '@lockstep/record-log';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { rebuildModule, type RebuildOptions, type Rebuilt } from './rebuild-module.ts';
import { declared, deleted, Fixture, idOf, lead, type LogEvent, partOf, seen } from './testing.ts';
import { type Verification, verifyModule } from './verify-module.ts';

/* Logs and tables that are right, or can be made right, and were once compared or repaired wrongly. */

let fixture: Fixture;

beforeEach(async () => {
  fixture = await Fixture.open();
});
afterEach(() => fixture.close());

const verify = (module: ModuleDefinition = leads): Promise<Verification> => verifyModule(fixture.deps, fixture.projection(module), { topic: fixture.topic.name });
const rebuild = (options: RebuildOptions = {}, module: ModuleDefinition = leads): Promise<Rebuilt> => rebuildModule(fixture.deps, fixture.projection(module), { topic: fixture.topic.name, ...options });

/** Writes events behind the module's coverage, and projects them. */
async function stand(events: readonly LogEvent[], module: ModuleDefinition = leads, size = 200): Promise<void> {
  if (fixture.length === 0) await fixture.publish(declared(coverageOf(module)));
  await fixture.publish(events);
  await fixture.project(module, size);
}

describe('what was parked and is resolved, but never applied, is no part of the comparison', () => {
  const resolve = async (): Promise<void> => {
    await noteEpsilon(fixture.db, 60_000);
    await wantedLooks(fixture.db).resolveOvertaken();
    expect(await fixture.sql('select from lockstep.parked where resolved_at is not null')).toHaveLength(1);
  };

  test('a value that does not fit, of a record that was deleted', async () => {
    await stand([seen(1, lead(1)), seen(1, lead(1, { Annual_Revenue: '1.001' }), { modified: 50 }), deleted(1, 500)]);
    await resolve();
    expect((await verify()).found).toEqual([]);
  });

  test('one that conflicts, of a record that was deleted', async () => {
    await fixture.sql('create unique index on leads (email)');
    await stand([seen(1, lead(1, { Email: 'a' }))]);
    await stand([seen(2, lead(2, { Email: 'a' }), { modified: 50 }), deleted(2, 500)]);
    await resolve();
    expect((await verify()).found).toEqual([]);
  });

  test('one of an unpublished form', async () => {
    const { id, value } = seen(1, lead(1), { modified: 50 });
    const { v, ...rest } = JSON.parse(value) as Record<string, unknown>;
    await stand([seen(1, lead(1)), { id, value: JSON.stringify({ ...rest, v }) }, seen(1, lead(1, { City: 'X' }), { modified: 900 })]);
    await resolve();
    expect((await verify()).found).toEqual([]);
  });

  test('one of a coverage that was never declared', async () => {
    await stand([seen(1, lead(1)), seen(1, { Last_Name: 'z' }, { modified: 50, covered: coverage(['Last_Name', 'City']) }), seen(1, lead(1, { City: 'X' }), { modified: 900 })]);
    await resolve();
    expect((await verify()).found).toEqual([]);
  });

  test('one that a much later look has overtaken, though its Modified_Time is greater', async () => {
    await stand([seen(1, lead(1)), seen(1, lead(1, { Annual_Revenue: '1.001' }), { modified: 50 }), seen(1, lead(1, { City: 'Back' }), { modified: 40, observed: 90_000 })]);
    await resolve();
    expect((await verify()).found).toEqual([]);
  });
});

test('a content of a coverage that was never declared, and that was outdated within its batch, does not matter', async () => {
  const undeclared = coverage(['Last_Name', 'City']);
  await stand([seen(2, { Last_Name: 'z' }, { modified: 50, covered: undeclared }), deleted(3, 10)], leads, 1);
  await fixture.sql('delete from lockstep.parked');
  expect((await verify()).found).toEqual([{ kind: 'register entry missing', id: idOf(2) }, expect.objectContaining({ kind: 'content does not fit', id: idOf(2) })]);
  await stand([seen(2, lead(2), { modified: 90 })]);
  expect((await verify()).found).toEqual([]);
});

test.each([1, 2, 200])('a removed row leaves nothing for a smaller coverage that brings its record back, in batches of %i', async (size) => {
  const small = coverage(['Product_Name']);
  await stand([...declared(small), seen(1, { Product_Name: 'P', Manufacturer: 'M' }, { module: products })], products);
  await stand([deleted(1, 500), seen(1, { Product_Name: 'Q' }, { modified: 900, module: products, covered: small })], products, size);
  expect(await fixture.sql('select product_name, manufacturer from products')).toEqual([{ product_name: 'Q', manufacturer: null }]);
  expect((await verify(products)).found).toEqual([]);
});

test.each(['key', 'partition', 'record_id', 'offsets', 'kind'])('a column may be called %s', async (column) => {
  const module = defineModule({ apiName: 'Leads', slug: 'leads', table: { schema: 'public', name: 'named' }, keyColumn: 'id', modifiedTimeColumn: 'modified_time', onDelete: { action: 'mark', deletedColumn: 'deleted_at' }, fields: [{ field: 'City', kind: 'text', column, type: 'text' }] });
  await fixture.sql(`create table public.named (id bigint primary key, modified_time timestamptz, deleted_at timestamptz, "${column}" text)`);
  await stand([seen(1, { City: 'a' }, { module }), seen(2, { City: 'b' }, { module })], module);
  await fixture.sql(`update public.named set "${column}" = 'by hand' where id = $1`, [idOf(1)]);
  await fixture.sql('delete from public.named where id = $1', [idOf(2)]);
  expect(await rebuild({}, module)).toMatchObject({ rows: 2, after: { found: [] } });
});

describe('rows of unknown keys', () => {
  const imported = (n: number) => fixture.sql(`insert into leads (id, modified_time, last_name, account_manager) values ($1, now(), 'imported', 'ours')`, [idOf(n)]);
  const managers = () => fixture.sql('select account_manager from leads where id = $1', [idOf(1)]);

  test('are not those of which a message is parked', async () => {
    await imported(1);
    await stand([seen(1, lead(1, { Annual_Revenue: '1.001' })), seen(2, lead(2))]);
    expect((await rebuild({ isUnknownRemoved: true })).after.found).toEqual([{ kind: 'row too many', id: idOf(1), isUnknown: false }]);
    expect(await managers()).toEqual([{ account_manager: 'ours' }]);
  });

  test('are not those of which a message stands behind the projector', async () => {
    await imported(1);
    await stand([seen(2, lead(2))]);
    await fixture.publish([seen(1, lead(1))]);
    await rebuild({ isUnknownRemoved: true });
    expect(await managers()).toEqual([{ account_manager: 'ours' }]);
  });

  test('are not removed where rows of other tables would go with them', async () => {
    await fixture.sql('create table orders (n int, lead_id bigint references leads (id) on delete cascade)');
    await stand([seen(2, lead(2))]);
    await imported(1);
    await fixture.sql('insert into orders values (1, $1)', [idOf(1)]);
    await expect(rebuild({ isUnknownRemoved: true })).rejects.toMatchObject({ code: 'CASCADING_FOREIGN_KEY' });
    expect(await fixture.sql('select n from orders')).toEqual([{ n: 1 }]);
  });
});

test('rows that are in each other\'s way, in a chain over several partitions, are repaired', async () => {
  await fixture.sql('create unique index on leads (email)');
  await stand(Array.from({ length: 30 }, (_, n) => seen(n, lead(n, { Email: `e${n}` }))));
  await fixture.sql(`update leads set email = 'free' where id = $1`, [idOf(0)]);
  for (let n = 1; n < 12; n += 1) await fixture.sql('update leads set email = $2 where id = $1', [idOf(n), `e${n - 1}`]);
  expect(await rebuild()).toMatchObject({ rows: 12, left: [], after: { found: [] } });
});

test('what changed in between is looked at again, and two rebuilds at once end with the proof', async () => {
  await stand(Array.from({ length: 40 }, (_, n) => seen(n, lead(n))));
  await fixture.sql(`update leads set company = 'by hand'`);
  const both = await Promise.all([rebuild(), rebuild()]);
  expect(both.map(({ left, after }) => ({ left, found: after.found }))).toEqual([{ left: [], found: [] }, { left: [], found: [] }]);
  expect(both.reduce((sum, { rows }) => sum + rows, 0)).toBe(40);
});

test('a record that has messages in two partitions is refused: the log does not say which came first', async () => {
  const other = Array.from({ length: 30 }, (_, n) => n).find((n) => partOf(idOf(n)) !== partOf(idOf(1))) as number;
  await stand([seen(1, lead(1)), { id: idOf(other), value: seen(1, lead(1, { City: 'moved' }), { modified: 50 }).value }]);
  await expect(verify()).rejects.toMatchObject({ code: 'LOG_REPARTITIONED' });
});

test('an error that a trigger raises with its own SQLSTATE leaves its row, and no other', async () => {
  await stand([seen(1, lead(1)), seen(2, lead(2))]);
  await fixture.sql(`update leads set company = 'by hand'`);
  await fixture.sql(`create function refuse() returns trigger language plpgsql as $$ begin if new.id = ${idOf(1)} then raise 'closed' using errcode = 'LS001'; end if; return new; end $$;
    create trigger refusing before update on leads for each row execute function refuse()`);
  expect(await rebuild()).toMatchObject({ rows: 1, left: [{ id: idOf(1), cause: 'closed (SQLSTATE LS001)' }], after: { counts: { 'row differs': 1 } } });
});

test('many rows that are refused do not keep the projector waiting for all of them', async () => {
  await stand(Array.from({ length: 60 }, (_, n) => seen(n, lead(n))));
  await fixture.sql(`update leads set company = 'by hand'`);
  await fixture.sql(`create function refuse() returns trigger language plpgsql as $$ begin perform pg_sleep(0.01); if new.id <> ${idOf(1)} then raise 'closed'; end if; return new; end $$;
    create trigger refusing before update on leads for each row execute function refuse()`);
  let longestWait = 0;
  const rebuilding = new AbortController();
  // As the projector does: it takes a position whenever it can.
  const taking = async (): Promise<void> => {
    while (!rebuilding.signal.aborted) {
      const started = performance.now();
      await fixture.sql('select from lockstep.projection_offset for update');
      longestWait = Math.max(longestWait, performance.now() - started);
    }
  };
  const started = performance.now();
  const other = taking();
  const { rows, left } = await rebuild({ holdMs: 20 });
  const took = performance.now() - started;
  rebuilding.abort();
  await other;
  expect({ rows, left: left.length }).toEqual({ rows: 1, left: 59 });
  // All of them together wait ten milliseconds more than a hundred times.
  expect(took).toBeGreaterThan(1_000);
  expect(longestWait).toBeLessThan(took / 6);
});
