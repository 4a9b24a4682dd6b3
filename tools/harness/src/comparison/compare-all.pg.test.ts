import { type Simulator, startSimulator } from '@lockstep/crm-simulator';
import { createTestDatabase, type TestDatabase, uniqueName } from '@lockstep/local-stack';
import { type ModuleDefinition, modules } from '@lockstep/modules';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { compareAll, type Comparison } from '../compare-all.ts';
import { plantForeign } from '../plant-foreign.ts';
import { mappedColumns, quoted, tableOf } from './mapped-columns.ts';
import { type Snapshot, takeSnapshot } from './snapshot.ts';

/* The comparison itself is held to account: on a database that is right it finds nothing, and whatever is changed in it, it names. */

let simulator: Simulator;
let right: TestDatabase;
let before: Snapshot;
let deletedLead: string;

beforeAll(async () => {
  simulator = await startSimulator({ records: { Leads: 300, Deals: 60, Products: 60 } });
  right = await createTestDatabase({ legacySchema: true });
  await plantForeign({ databaseUrl: right.url, simulatorUrl: simulator.url });
  before = await takeSnapshot(right.url, modules);
  for (const module of modules) await fill(module);
  [deletedLead = ''] = simulator.firstIds('Leads', 1);
  const { deleted_time: deletedTime } = simulator.deleteRecord('Leads', deletedLead);
  await run(right.url, `update leads set deleted_at = '${deletedTime}' where id = ${deletedLead}`);
});
afterAll(async () => {
  await simulator.close();
  await right.drop();
});

/** A copy of the right database, for as long as a test or a group of tests runs. */
async function copy(): Promise<{ url: string; drop: () => Promise<void> }> {
  const name = uniqueName('changed');
  await run(serverUrl(), `create database ${name} template ${new URL(right.url).pathname.slice(1)}`);
  return { url: new URL(`/${name}`, right.url).href, drop: () => run(serverUrl(), `drop database ${name} with (force)`) };
}

const serverUrl = (): string => new URL('/postgres', right.url).href;

async function run(url: string, sql: string, values: unknown[] = []): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(sql, values);
  } finally {
    await client.end();
  }
}

/** Writes the truth into a table, as Lockstep should. */
async function fill(module: ModuleDefinition): Promise<void> {
  const columns = mappedColumns(module);
  const names = [module.keyColumn, ...columns.map(({ column }) => column)];
  const sql = `insert into ${tableOf(module)} (${names.map(quoted).join(', ')}) values (${names.map((_, at) => `$${at + 1}`).join(', ')})
    on conflict (${quoted(module.keyColumn)}) do update set ${names.map((name) => `${quoted(name)} = excluded.${quoted(name)}`).join(', ')}`;
  const client = new pg.Client({ connectionString: right.url });
  await client.connect();
  for (const record of simulator.truth(module.apiName)) {
    await client.query(sql, [record.id, ...columns.map(({ field, compare }) => {
      const value = record[field] ?? null;
      return Array.isArray(value) ? (value.join(compare === 'list;' ? ';' : ',') || null) : value === '' ? null : value;
    })]);
  }
  await client.end();
}

const compared = (databaseUrl: string): Promise<Comparison> => compareAll({ databaseUrl, simulator }, modules, { before, limit: 1_000 });
const lead = (at: number): string => simulator.firstIds('Leads', at + 1)[at] as string;
const product = (at: number): string => simulator.firstIds('Products', at + 1)[at] as string;
const leads = '"public"."leads"';

/** Past the company's own triggers and keys, which would refuse or note it. */
const quietly = (sql: string): string => `set session_replication_role = replica; ${sql}`;

type Case = readonly [what: string, sql: () => string, expected: () => Record<string, unknown>];

/** Makes all of the changes in one copy, and compares once. */
function describeChanges(what: string, cases: readonly Case[], found: (comparison: Comparison) => Pick<Comparison, 'examples'> & { count: number }): void {
  describe(`a comparison finds ${what}`, () => {
    let comparison: Comparison;

    beforeAll(async () => {
      const { url, drop } = await copy();
      for (const [, sql] of cases) await run(url, quietly(sql()));
      comparison = await compared(url);
      await drop();
    });

    test.each(cases)('%s', (_, __, expected) => {
      expect(found(comparison).examples).toMatchObject(expect.arrayContaining([expect.objectContaining(expected())]));
    });

    test('each once, and nothing else', () => {
      expect(found(comparison).examples.map(({ table, id, column }) => `${table} ${id} ${column}`)).toHaveLength(cases.length);
      expect(found(comparison).count).toBe(cases.length);
    });
  });
}

test('a database that is right has no mismatch, and all of it was compared', async () => {
  const found = await compared(right.url);
  expect(found).toMatchObject({ rows: 419, mismatches: 0, examples: [], untouched: { differences: 0, examples: [] } });
  expect(found.values).toBe(299 * (modules[0] as ModuleDefinition).fields.length + 60 * ((modules[1]?.fields.length ?? 0) + (modules[2]?.fields.length ?? 0)) + 419);
  expect(found.untouched?.rows).toBeGreaterThan(600);
  expect((await compareAll({ databaseUrl: right.url, simulator }, ['Leads'])).untouched).toBeNull();
});

describeChanges('what is not as in the CRM', [
  ['the last character of a mapped value', () => `update leads set last_name = left(last_name, -1) || 'X' where id = ${lead(7)}`, () => ({ table: leads, id: lead(7), column: 'last_name' })],
  ['a fraction of the modified time', () => `update leads set modified_time = modified_time + interval '1 microsecond' where id = ${lead(8)}`, () => ({ table: leads, id: lead(8), column: 'modified_time' })],
  ['an empty text in place of null', () => `update leads set fax = '' where id = (select min(id) from leads where id > ${lead(20)} and fax is null)`, () => ({ table: leads, column: 'fax', actual: '' })],
  ['a mark of deletion on a live record', () => `update leads set deleted_at = now() where id = ${lead(9)}`, () => ({ table: leads, id: lead(9), column: 'deleted_at', expected: null })],
  ['the time of a deletion', () => `update leads set deleted_at = deleted_at + interval '1 second' where id = ${deletedLead}`, () => ({ table: leads, id: deletedLead, column: 'deleted_at' })],
  ['a record without a row', () => `delete from leads where id = ${lead(70)}`, () => ({ table: leads, id: lead(70), column: 'id', actual: 'no row' })],
  ['a row without a record that was not there before', () => 'insert into leads (id) values (999)', () => ({ table: leads, id: '999', column: 'id', actual: 'a row' })],
], ({ mismatches, examples }) => ({ count: mismatches, examples }));

describeChanges('what is no longer as it was', [
  ['a foreign column of a record', () => `update leads set credit_limit = credit_limit + 1 where id = ${lead(5)}`, () => ({ table: leads, id: lead(5), column: 'credit_limit' })],
  ['the last character of a foreign text', () => `update leads set planted_remark = planted_remark || '.' where id = ${lead(6)}`, () => ({ table: leads, id: lead(6), column: 'planted_remark' })],
  ['a foreign column of a row that was inserted', () => `update leads set planted_state = '' where id = ${lead(200)}`, () => ({ table: leads, id: lead(200), column: 'planted_state', expected: 'new, "open"' })],
  ['a foreign column that is null by default', () => 'update deals set invoiced_amount = 0 where id = (select max(id) from deals)', () => ({ table: '"public"."deals"', column: 'invoiced_amount', expected: null })],
  ['a mapped column of a foreign row', () => `update leads set last_name = 'Raw' where id = 4`, () => ({ table: leads, id: '4', column: 'last_name' })],
  ['the mark of a foreign row', () => 'update leads set deleted_at = null where id = 3', () => ({ table: leads, id: '3', column: 'deleted_at' })],
  ['a foreign row that is gone', () => 'delete from products where id = 2', () => ({ table: '"public"."products"', id: '2', column: 'id', actual: 'no row' })],
  ['a row of another table', () => 'update billing.accounts set balance = balance + 0.01 where lead_id = 4 and year = 2021', () => ({ table: '"billing"."accounts"', id: '["4","2021"]', column: 'balance' })],
  ['a row of another table that is gone', () => 'delete from billing.accounts where lead_id = 5 and year = 2021', () => ({ table: '"billing"."accounts"', id: '["5","2021"]', actual: 'no row' })],
  ['one of the same rows of a table without a key', () => `delete from billing.log_without_key where ctid = '(0,1)'`, () => ({ table: '"billing"."log_without_key"', actual: 'no row' })],
  ['a row of a table that was empty', () => `insert into billing.touched values ('x')`, () => ({ table: '"billing"."touched"', actual: 'a row' })],
  ['a trigger that is disabled', () => 'alter table leads disable trigger planted_rows', () => ({ table: 'definitions', id: 'trigger public.leads planted_rows' })],
  ['a grant', () => 'grant select on leads to public', () => ({ table: 'definitions', id: 'relation public.leads' })],
  ['a function', () => 'alter function billing.note_touch() security definer', () => ({ table: 'definitions', id: 'function billing.note_touch()' })],
  ['a foreign key', () => 'alter table lead_notes drop constraint lead_notes_lead_id_fkey', () => ({ table: 'definitions', actual: 'no row' })],
], ({ untouched }) => ({ count: untouched?.differences ?? 0, examples: untouched?.examples ?? [] }));

test('two rows whose values are swapped are found, in the columns of both, and a table or view that is new or changed', async () => {
  const { url, drop } = await copy();
  const [a, b] = [lead(10), lead(11)];
  await run(url, quietly(`update leads set id = -1000 where id = ${a}; update leads set id = ${a} where id = ${b}; update leads set id = ${b} where id = -1000; create table billing.more ();
    create or replace view billing.open_accounts as select a.lead_id, l.company, l.credit_limit, a.balance from billing.accounts a join public.leads l on l.id = a.lead_id`));
  const { mismatches, examples, untouched } = await compared(url);
  await drop();
  expect(mismatches).toBeGreaterThan(20);
  expect(new Set(examples.map(({ table, id }) => `${table} ${id}`))).toEqual(new Set([`${leads} ${a}`, `${leads} ${b}`]));
  const foreign = [a, b].map((id) => expect.objectContaining({ table: leads, id, column: 'credit_limit' }));
  expect(untouched?.examples).toMatchObject(expect.arrayContaining([...foreign, expect.objectContaining({ table: '"billing"."more"' }), expect.objectContaining({ id: 'view billing.open_accounts' })]));
});

test('a product that was deleted and restored has a new row, with the defaults in its foreign columns and nothing else', async () => {
  const { url, drop } = await copy();
  const [restored, other] = [product(3), product(4)];
  simulator.deleteRecord('Products', restored);
  simulator.restoreRecord('Products', restored);
  await run(url, quietly(`update products set warehouse_bin = null, planted_remark = null where id in (${restored}, ${other})`));
  const named = async (): Promise<string[]> => (await compared(url)).untouched?.examples.map(({ id, column }) => `${id} ${column}`) ?? [];
  expect((await named()).toSorted()).toEqual([`${other} planted_remark`, `${other} warehouse_bin`]);
  await run(url, quietly(`update products set planted_remark = 'another' where id = ${restored}`));
  expect(await named()).toContain(`${restored} planted_remark`);
  await drop();
});

test('touching a foreign value and restoring it is found; another module is compared by its own names for key and modified time', async () => {
  const { url, drop } = await copy();
  await run(url, `create temporary table kept as select planted_remark from leads where id = ${lead(5)}; update leads set planted_remark = null where id = ${lead(5)}; update leads set planted_remark = kept.planted_remark from kept where id = ${lead(5)}`);
  const { untouched } = await compared(url);
  expect(untouched?.examples).toMatchObject([{ table: '"billing"."touched"', actual: 'a row' }, { table: '"billing"."touched"', actual: 'a row' }]);
  const renamed = { ...(modules[0] as ModuleDefinition), table: { schema: 'public', name: 'prospects' }, keyColumn: 'crm_id', modifiedTimeColumn: 'changed_on' };
  await run(url, quietly('alter table leads rename to prospects; alter table prospects rename id to crm_id; alter table prospects rename modified_time to changed_on; delete from prospects where crm_id < 1000'));
  expect(await compareAll({ databaseUrl: url, simulator }, [renamed])).toMatchObject({ rows: 299, mismatches: 0 });
  await run(url, quietly(`update prospects set changed_on = changed_on + interval '1 second' where crm_id = ${lead(12)}`));
  expect(await compareAll({ databaseUrl: url, simulator }, [renamed])).toMatchObject({ mismatches: 1, examples: [{ id: lead(12), column: 'changed_on' }] });
  await drop();
});
