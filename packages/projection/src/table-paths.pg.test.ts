import { createTestDatabase, type TestDatabase } from '@lockstep/local-stack';
import { defineModule, type FieldMapping, type ModuleDefinition } from '@lockstep/modules';
import { connect, type Database, migrate } from '@lockstep/postgres';
import type { FieldValue } from '@lockstep/record-log';
import fc from 'fast-check';
import pg, { type PoolClient } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { adoptMapping } from './module-projection.ts';
import { recordId, Topic } from './testing.ts';

/** A legacy column of every kind that can hold CRM values, and texts that may come for it. */
type Case = { readonly kind: FieldMapping['kind']; readonly type: string; readonly onExcessScale?: 'round'; readonly value: fc.Arbitrary<FieldValue> };

const texts = fc.oneof(fc.constantFrom('abc', 'abc ', 'abcde', 'abcde  ', 'abcdef', 'NULL', 'null', '\\N', '{a,b}', '"', 'é\u{1F600} ', 'A', 'a', 'now', 't', ''), fc.string({ unit: 'grapheme', maxLength: 8 }).map((text) => text.toWellFormed().replaceAll('\0', '')));
const decimals = fc.oneof(fc.constantFrom('10.125', '10.12', '-0', '0', '007', '1e3', 'NaN', 'Infinity', '0x1F', '1_000', ' 42 ', '12345', '12300', '99999999999999999999', '.5', '5.', '+1', ''), fc.integer().map(String), fc.double({ noNaN: true, min: -1e6, max: 1e6 }).map((n) => String(n)));
const dates = fc.constantFrom('2026-02-28', '2026-02-30', 'now', 'today', 'infinity', 'epoch', '28.02.2026', '02/03/2026', 'J2451187', '20260228', '0044-03-15 BC', '99-01-01', '10000-01-01');
const instants = fc.constantFrom('2026-03-29T01:30:00Z', '2026-10-25T00:30:00.125Z', '2024-07-20T00:51:23+05:30', '2024-07-20T00:51:23', '2024-07-20 midnight', 'now', 'infinity', '2024-07-20T23:59:60Z', '2024-07-20T24:00:00Z', '+010000-01-01T00:00:00Z', '9999-12-31T23:59:59-08:00', '2024-07-19T19:21:23.9999999Z');
const booleans = fc.constantFrom<FieldValue>(true, false, 'true', 'yes', 'on', '1', 'f', 'tru');
const ids = fc.constantFrom('5545974000002011001', '0', '9223372036854775807', 'x', '1.0');

const cases: readonly Case[] = [
  ...['text', 'varchar(5)', 'char(5)', 'varchar', 'citext', 'mood', 'short', 'shortest', 'text collate anycase'].map((type): Case => ({ kind: 'text', type, value: texts })),
  { kind: 'text', type: 'uuid', value: fc.oneof(fc.uuid(), fc.uuid().map((id) => id.toUpperCase()), fc.constantFrom('{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}', 'x')) },
  ...['numeric(16,2)', 'numeric', 'numeric(5,0)', 'numeric(6,-2)', 'money2', 'integer', 'varchar(6)'].map((type): Case => ({ kind: 'decimal', type, value: decimals })),
  ...['numeric(6,1)', 'double precision', 'real'].map((type): Case => ({ kind: 'decimal', type, onExcessScale: 'round', value: decimals })),
  ...['smallint', 'integer', 'bigint', 'numeric(4,1)', 'text'].map((type): Case => ({ kind: 'integer', type, value: decimals })),
  ...['boolean', 'text', 'varchar(5)', 'char(6)'].map((type): Case => ({ kind: 'boolean', type, value: booleans })),
  ...['date', 'timestamp', 'char(12)'].map((type): Case => ({ kind: 'date', type, value: dates })),
  ...['timestamptz', 'timestamptz(0)', 'timestamp', 'timestamp(1)', 'text'].map((type): Case => ({ kind: 'datetime', type, value: instants })),
  { kind: 'datetime', type: 'timestamp(0)', onExcessScale: 'round', value: instants },
  ...['bigint', 'numeric(19,0)', 'varchar(19)', 'char(20)'].map((type): Case => ({ kind: 'lookup', type, value: ids })),
];

let testDatabase: TestDatabase;
let db: Database;
let client: PoolClient;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  const admin = new pg.Client({ connectionString: testDatabase.url });
  await admin.connect();
  await admin.query(`
    create extension citext;
    create type mood as enum ('abc', 'a', 'A', 'NULL', 't');
    create domain short as varchar(5);
    create domain shortest as short check (value <> 'abc');
    create domain money2 as numeric(10,2);
    create collation anycase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`);
  const name = new URL(testDatabase.url).pathname.slice(1);
  for (const setting of [`timezone = 'Europe/Berlin'`, `datestyle = 'SQL, DMY'`, 'array_nulls = off', 'extra_float_digits = -10', 'transform_null_equals = on']) await admin.query(`alter database ${name} set ${setting}`);
  await admin.end();
  db = await connect({ url: testDatabase.url, poolSize: 4 });
  await migrate(db, [{ slug: 'leads', apiName: 'Leads' }]);
  client = await db.pool.connect();
});
afterAll(async () => {
  client.release();
  await db.close();
  await testDatabase.drop();
});

const cross = { apiName: 'Leads', slug: 'leads', keyColumn: 'id', modifiedTimeColumn: 'modified_time', onDelete: { action: 'mark', deletedColumn: 'deleted_at' } } as const;
const keys = ['bigint', 'varchar(19)', 'text', 'numeric', 'numeric(20,0)', 'char(19)'];
const times = ['timestamptz', 'timestamp', 'timestamp(0)'];

async function tableOf(name: string, columns: readonly Case[], { key = 'bigint', time = 'timestamptz' } = {}): Promise<ModuleDefinition> {
  await client.query(`drop table if exists public.${name}; create table public.${name} (id ${key} unique, modified_time ${time}, deleted_at ${time}, foreign_column text default 'kept', ${columns.map(({ type }, i) => `c${i} ${type}`).join(', ')})`);
  const fields = columns.map(({ kind, onExcessScale }, i): FieldMapping => ({ field: `F${i}`, kind, column: `c${i}`, type: 'text', ...(onExcessScale && { onExcessScale }) }));
  return defineModule({ ...cross, table: { schema: 'public', name }, fields });
}

/** So few that they go as arrays. */
const chunks = <T>(list: readonly T[]): T[][] => Array.from({ length: Math.ceil(list.length / 40) }, (_, i) => list.slice(i * 40, i * 40 + 40));

/** What stands in the table, by its bytes, and what was parked. */
async function outcome(name: string, topic: Topic, count: number): Promise<unknown> {
  const { rows } = await client.query(`select encode(convert_to(t::text, 'UTF8'), 'hex') as row, t::text from public.${name} t where id::text in (${Array.from({ length: count }, (_, i) => `'${recordId(i)}'`).join()}) order by id`);
  const { rows: parked } = await client.query('select record_id, code, cause from lockstep.parked where topic_id = $1 order by record_id::bigint', [topic.topicId]);
  return { rows, parked };
}

type Values = readonly FieldValue[];
const fieldsOf = (values: Values): Record<string, FieldValue> => Object.fromEntries(values.map((value, i) => [`F${i}`, value]));

/** Writes the same rows by one path into a table of its own. */
async function written(path: 'copy' | 'stage' | 'arrays' | 'edited', columns: readonly Case[], rows: readonly Values[], types: { key?: string; time?: string }): Promise<unknown> {
  const name = `legacy_${path}`;
  const module = await tableOf(name, columns, types);
  await client.query('truncate lockstep.record_version, lockstep.projection_offset, lockstep.parked');
  const topic = new Topic(client, module);
  await adoptMapping(db.pool, topic.projection);
  const empty = columns.map(() => null);
  const messages = (clock: string): ReturnType<Topic['seen']>[] => rows.map((values, n) => topic.seen({ n, modified: clock, ...fieldsOf(values) }));
  const filler = (clock: string): ReturnType<Topic['seen']>[] => Array.from({ length: 60 }, (_, i) => topic.seen({ n: 1000 + i, modified: clock, ...fieldsOf(empty) }));
  const all = rows.map((_, n) => topic.seen({ n, modified: '09:00:00', ...fieldsOf(empty) }));
  if (path === 'copy') await topic.project([...filler('10:00:00'), ...messages('10:00:00')]);
  if (path === 'arrays') for (const some of chunks(messages('10:00:00'))) await topic.project(some);
  if (path === 'edited') {
    await topic.project(all);
    await topic.project(messages('10:00:00'));
  }
  if (path === 'stage') {
    await topic.project([...filler('09:00:00'), ...all]);
    await topic.project([...filler('10:00:00'), ...messages('10:00:00')]);
  }
  // A row whose value is kept aside stays as it was before, which is nothing or empty.
  await client.query(`delete from public.${name} where modified_time < '2026-03-02T09:30:00Z'`);
  return await outcome(name, topic, rows.length);
}

describe('a value', () => {
  test('is written to the same bytes, or kept aside for the same cause, by COPY, by the stage and by arrays, whatever the columns and the settings', async () => {
    const columns = fc.subarray([...cases], { minLength: 1, maxLength: 6 }).filter((list) => list.length > 0);
    const table = columns.chain((list) =>
      fc.record({ list: fc.constant(list), rows: fc.array(fc.tuple(...list.map(({ value }) => fc.option(value, { nil: null }))), { minLength: 1, maxLength: 4 }), key: fc.constantFrom(...keys), time: fc.constantFrom(...times) }));
    await fc.assert(
      fc.asyncProperty(table, async ({ list, rows, ...types }) => {
        const expected = await written('arrays', list, rows, types);
        for (const path of ['copy', 'stage', 'edited'] as const) expect(await written(path, list, rows, types)).toEqual(expected);
      }),
      { numRuns: 8, endOnFailure: true },
    );
  });

  test('reads as it came, or is kept aside with its column', async () => {
    await fc.assert(
      fc.asyncProperty(fc.tuple(...cases.map(({ value }) => fc.uniqueArray(value, { minLength: 4, maxLength: 6 }))), async (lists) => {
        const rows = lists.flatMap((values, column) => values.map((value): Values => cases.map((_, i) => (i === column ? value : null))));
        const { parked } = (await written('arrays', cases, rows, {})) as { parked: { record_id: string; code: string; cause: string }[] };
        const { rows: read } = await client.query<{ id: string; values: (string | null)[] }>(`select id::text, array[${cases.map((_, i) => `c${i}::text`).join()}] as values from public.legacy_arrays`);
        expect(read.length + parked.length).toBe(rows.length);
        const columnOf = (id: string): number => (rows[rowOf(id)] as Values).findIndex((value) => value !== null);
        const changed = read.filter(({ id, values }) => columnOf(id) >= 0 && !sameValue(cases[columnOf(id)] as Case, rows[rowOf(id)]?.[columnOf(id)] ?? null, values[columnOf(id)] ?? null));
        expect(changed.map(({ id, values }) => ({ ...cases[columnOf(id)], value: rows[rowOf(id)]?.[columnOf(id)], read: values[columnOf(id)] }))).toEqual([]);
        for (const { record_id: id, code, cause } of parked) expect(`${code} ${cause}`).toMatch(new RegExp(`^(?:VALUE_NOT_EXACT|22\\w{3}|23514) c${columnOf(id)}: `));
      }),
      { numRuns: 2, endOnFailure: true },
    );
  });
});

const rowOf = (id: string): number => Number(BigInt(id) - BigInt(recordId(0)));

/** Whether a column's text is the value that came, but for how the type writes it. */
function sameValue({ kind, type, onExcessScale }: Case, came: FieldValue, stored: string | null): boolean {
  if (came === null || stored === null) return came === stored;
  if (typeof came === 'boolean') return stored === String(came);
  if (type.startsWith('timestamp') && kind === 'datetime') return onExcessScale !== undefined || Date.parse(came) === Date.parse(`${stored.replace(/\+00$/, '')}Z`);
  if (type === 'timestamp') return stored === `${came} 00:00:00`;
  if (kind === 'decimal' || kind === 'integer') return onExcessScale !== undefined || type.startsWith('varchar') || type === 'text' ? true : Number(stored) === Number(came) && /^-?\d/.test(came);
  return stored === came;
}
