import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

import { testKafkaBrokers } from '@lockstep/local-stack';
import { coverageOf, defineModule, leads } from '@lockstep/modules';
import type { PoolClient } from 'pg';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { declared, Fixture, idOf, lead, partOf, seen } from '../testing.ts';
import { applyMapping } from './apply-mapping.ts';

const COUNT = 40_000;
const before = defineModule({ ...leads, fields: leads.fields.filter(({ column }) => column !== 'fax'), alsoLogged: [{ field: 'Fax', kind: 'text' }] });

let fixture: Fixture;
let children: ChildProcess[] = [];

beforeEach(async () => {
  fixture = await Fixture.open();
  await fixture.publish([...declared(coverageOf(before)), ...Array.from({ length: COUNT }, (_, n) => seen(n, lead(n, { Fax: `+49 ${n}` }), { modified: n, module: before }))]);
  await fixture.project(before, 10_000);
});
afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  children = [];
  await fixture.close();
});

const filled = async (): Promise<number> => Number((await fixture.sql('select count(fax) as n from leads'))[0]?.['n']);
const apply = () => applyMapping(fixture.deps, fixture.projection(), { topic: fixture.topic.name });

/** Holds one row of the partition that is written last, so that an apply stands in the middle. */
async function holdLast(): Promise<{ readonly client: PoolClient; readonly release: () => Promise<void> }> {
  const last = Array.from({ length: 50 }, (_, n) => idOf(n)).find((id) => partOf(id) === 2) ?? '';
  const client = await fixture.db.pool.connect();
  await client.query('begin');
  await client.query('select from leads where id = $1 for update', [last]);
  return { client, release: async () => void (await client.query('rollback').finally(() => client.release())) };
}

const isWaiting = async (): Promise<boolean> => ((await fixture.sql(`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like 'update "public"."leads" t set%'`)).length === 1);

test('ended by kill -9 in the middle, and with a projector of the new mapping in between, it ends right when it is called again', async () => {
  const held = await holdLast();
  const child = spawn(process.execPath, [fileURLToPath(new URL('apply.child.ts', import.meta.url)), testKafkaBrokers().join(','), fixture.url, fixture.topic.name], { stdio: 'inherit' });
  children.push(child);
  await expect.poll(isWaiting, { timeout: 40_000 }).toBe(true);
  const middle = await filled();
  child.kill('SIGKILL');
  await once(child, 'exit');
  await held.release();
  expect([middle > 0, middle < COUNT]).toEqual([true, true]);
  await fixture.publish([...declared(coverageOf(leads)), seen(5, lead(5, { Fax: 'by the new one' }), { modified: 90_000 })]);
  await fixture.project();
  const applied = await apply();
  expect(applied).toMatchObject({ left: [], isComplete: true, proof: { counts: {} } });
  expect(applied.rows).toBeLessThan(COUNT);
  expect([await filled(), await fixture.sql('select fax from leads where id = $1', [idOf(5)])]).toEqual([COUNT, [{ fax: 'by the new one' }]]);
});

test('what a projector of the new mapping writes while it is under way is not written over', async () => {
  const held = await holdLast();
  const applying = apply();
  await expect.poll(isWaiting, { timeout: 40_000 }).toBe(true);
  // Of partitions that are written already, and of one whose position is held.
  const ids = Array.from({ length: 30 }, (_, n) => n);
  await fixture.publish([...declared(coverageOf(leads)), ...ids.map((n) => seen(n, lead(n, { Fax: 'newer' }), { modified: 90_000 }))]);
  const projecting = fixture.project();
  await held.release();
  expect(await applying).toMatchObject({ left: [], isComplete: true, proof: { counts: {} } });
  await projecting;
  expect(await filled()).toBe(COUNT);
  expect(await fixture.sql(`select count(*)::int as n from leads where fax = 'newer'`)).toEqual([{ n: ids.length }]);
});

test('a record that moved on after it was folded, and before its partition was held, is left as it stands', async () => {
  const moved = Array.from({ length: 50 }, (_, n) => idOf(n)).find((id) => partOf(id) === 2) ?? '';
  const projector = await fixture.db.pool.connect();
  await projector.query('begin; select from lockstep.projection_offset where partition = 2 for update');
  const applying = apply();
  await expect.poll(async () => (await fixture.sql(`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%projection_offset%for update%'`)).length, { timeout: 40_000 }).toBe(1);
  await projector.query(`update lockstep.record_version set log_offset = log_offset + 1000000 where record_id = ${moved}`);
  await projector.query(`update leads set fax = 'moved' where id = ${moved}`);
  await projector.query('commit');
  projector.release();
  await applying;
  expect(await fixture.sql(`select fax from leads where id = ${moved}`)).toEqual([{ fax: 'moved' }]);
});

test('stops, and says so, where a build of the former mapping makes that the current one', async () => {
  const held = await holdLast();
  const applying = apply();
  await expect.poll(isWaiting, { timeout: 40_000 }).toBe(true);
  await fixture.sql('update lockstep.mapping set fingerprint = $1', [fixture.projection(before).fingerprint]);
  await held.release();
  await expect(applying).rejects.toMatchObject({ code: 'MAPPING_CHANGED' });
});
