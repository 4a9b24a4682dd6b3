import { coverageOf, defineModule } from '@lockstep/modules';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { declared, Fixture, idOf, seen } from './testing.ts';
import { type Verification, verifyModule } from './verify-module.ts';

/* Tables of every type that a mapping may have: what is foreseen of a row is what Postgres gives out, and any other value is found. */

let fixture: Fixture;

beforeEach(async () => {
  fixture = await Fixture.open();
});
afterEach(() => fixture.close());

const columns = [
  ['text', 'text', 'Ada\u000b\\ \t\r\n\f\b"Ł\u0001'],
  ['text', 'varchar(20)', 'Ada '],
  ['text', 'char(8)', 'Ada\u000bł'],
  ['text', 'citext', 'Ada'],
  ['text', 'mood', 'sad'],
  ['text', 'uuid', '0f6b1c52-7d9d-4b0e-9c55-0d8a1f0e2b11'],
  ['integer', 'smallint', '-7'],
  ['integer', 'bigint', '9007199254740993'],
  ['integer', 'numeric(20,2)', '12'],
  ['integer', 'text', '12'],
  ['decimal', 'numeric', '12.5'],
  ['decimal', 'numeric(16,3)', '-0.5'],
  ['decimal', 'numeric(16,3)', '7'],
  ['decimal', 'amount', '12.25'],
  ['boolean', 'boolean', true],
  ['boolean', 'varchar(5)', false],
  ['date', 'date', '2024-02-29'],
  ['date', 'timestamp', '2024-02-29'],
  ['date', 'text', '2024-02-29'],
  ['datetime', 'timestamptz', '2024-02-29T23:59:59Z'],
  ['datetime', 'timestamptz(0)', '0099-12-31T00:00:00Z'],
  ['datetime', 'timestamp', '2024-02-29T23:59:59Z'],
  ['datetime', 'text', '2024-02-29T23:59:59Z'],
  ['lookup', 'numeric(19,0)', '5725767000000000001'],
] as const;

/** Another value of the type: one that its operator "=" holds equal, where there is one. */
const damaged: Readonly<Record<string, string>> = { citext: `'ADA'`, mood: `'glad'`, uuid: 'gen_random_uuid()', numeric: '12.50', boolean: 'false', date: `'2024-03-01'`, timestamp: `'2024-02-29 00:00:00.000001'`, timestamptz: `'2024-02-29T23:59:59.000001Z'`, 'timestamptz(0)': 'now()', text: `''`, 'varchar(20)': `'Ada'`, 'char(8)': `'ada'` };

const module = defineModule({
  apiName: 'Leads', slug: 'leads', table: { schema: 'public', name: 'typed' }, keyColumn: 'key', modifiedTimeColumn: 'modified', onDelete: { action: 'mark', deletedColumn: 'deleted' },
  fields: columns.map(([kind, type], n) => ({ field: `F${n}`, kind, column: `c${n}`, type }) as Parameters<typeof defineModule>[0]['fields'][number]),
});
const values = Object.fromEntries(columns.map(([, , value], n) => [`F${n}`, value]));
const verify = (): Promise<Verification> => verifyModule(fixture.deps, fixture.projection(module), { topic: fixture.topic.name });

test.each(['bigint', 'varchar(20)', 'numeric'])('what is foreseen of each type stands in the table, and nothing else does, with a key of type %s', async (key) => {
  await fixture.sql(`create extension if not exists citext; create type mood as enum ('sad', 'glad'); create domain amount as numeric(10,2);
    create table public.typed (key ${key} primary key, modified timestamptz, deleted timestamp, ${columns.map(([, type], n) => `c${n} ${type}`).join(', ')})`);
  await fixture.publish([...declared(coverageOf(module)), ...Array.from({ length: 40 }, (_, n) => seen(n, n % 10 === 9 ? {} : values, { module, modified: n }))]);
  await fixture.project(module);
  expect(await fixture.sql('select count(*)::int as n from lockstep.parked')).toEqual([{ n: 0 }]);
  expect(await verify()).toMatchObject({ counts: {}, inDetail: 0 });
  for (const [n, [, type]] of columns.entries()) {
    await fixture.sql(`update public.typed set c${n} = ${damaged[type] ?? '1'} where key = $1`, [idOf(n)]);
  }
  await fixture.sql(`update public.typed set modified = modified + interval '1 microsecond' where key = $1`, [idOf(30)]);
  await fixture.sql('update public.typed set deleted = now() where key = $1', [idOf(31)]);
  const { found } = await verify();
  const wrong = found.flatMap((one) => (one.kind === 'row differs' ? one.values.map(({ column }) => `${one.id} ${column}`) : []));
  expect(new Set(wrong)).toEqual(new Set([...columns.map((_, n) => `${idOf(n)} c${n}`), `${idOf(30)} modified`, `${idOf(31)} deleted`]));
});
