import { createTestDatabase, type TestDatabase } from '@lockstep/local-stack';
import { deals, leads } from '@lockstep/modules';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';

import { connect, type Database } from './database.ts';
import { type DeadLetterStore, deadLetterStore, type NotedLetter } from './dead-letters.ts';
import { readFreshness } from './freshness.ts';
import { readLeftOut } from './left-out.ts';
import { looksAside } from './looks-aside.ts';
import { migrate } from './migrate.ts';

const ID = '5725767000000000001';

let testDatabase: TestDatabase;
let db: Database;
let letters: DeadLetterStore;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  db = await connect({ url: testDatabase.url, poolSize: 2 });
  await migrate(db, [leads, deals]);
  letters = deadLetterStore(db);
});
afterAll(async () => {
  await db.close();
  await testDatabase.drop();
});
beforeEach(async () => {
  await db.pool.query(`truncate lockstep.dead_letter, lockstep.look_aside, lockstep.record_version, lockstep.watermark, lockstep.mapping;
    insert into lockstep.mapping (module, fingerprint) values ('Leads', 'x'), ('Deals', 'x')`);
});

const letter = (position: NotedLetter['position'] = { module: 'Leads', id: ID }, more: Partial<NotedLetter> = {}): NotedLetter => ({ source: 'look', key: String(position['id'] ?? ''), code: 'MODIFIED_TIME_MALFORMED', cause: 'no time', position, ...more });
const open = async (module = 'Leads'): Promise<number> => (await letters.list({ module, limit: 100 })).length;
const seen = (after: string): Promise<unknown> => db.pool.query(`insert into lockstep.record_version (module, record_id, modified_ms, observed_ms, log_partition, log_offset) values ('Leads', $1, 1, extract(epoch from now() + $2::interval) * 1000, 0, 0)`, [ID, after]);
const claimed = (kind: 'changes' | 'everything', module: string, after: string): Promise<unknown> =>
  db.pool.query(`insert into lockstep.watermark (module, kind, at, topic_id, end_offsets) values ($1, $2, now() + $3::interval, gen_random_uuid(), '{}')`, [module, kind, after]);

test('what stands at one place is one letter, however often it is noted, and counts for its module', async () => {
  await letters.note([letter(), letter()]);
  await letters.note([letter(undefined, { cause: 'still no time' }), letter({ module: 'Leads', jobId: '1', line: 3 }, { source: 'bulk-row', code: 'ROW', cause: 'a \u0000 in it' })]);
  expect(await letters.list({ limit: 10 })).toMatchObject([{ source: 'bulk-row', recordId: null }, { source: 'look', recordId: ID, cause: 'still no time', resolvedAt: null }]);
  expect((await readFreshness(db)).map(({ module, deadLetters, keptAside }) => [module, deadLetters, keptAside])).toEqual([['Deals', 0, 0], ['Leads', 2, 0]]);
  expect((await readLeftOut(db, 'Leads')).deadLetters).toMatchObject({ count: 2 });
});

test('one whose texts Postgres does not take is noted all the same', async () => {
  await letters.note([letter({ module: 'Leads', id: 'x'.repeat(30_000) }), letter({ module: 'Leads', id: 'x'.repeat(20_000) }, { cause: 'half a \uD83D, and a \0' }), letter({ module: 'Leads', id: '\uDC00' }, { code: '\0' })]);
  expect((await letters.list({ limit: 10 })).map(({ code, cause }) => [code, cause])).toEqual(expect.arrayContaining([['MODIFIED_TIME_MALFORMED', 'half a \uFFFD, and a \uFFFD'], ['\uFFFD', 'no time']]));
});

test('one that names its record is settled by a later look at it, not by an earlier one, nor while its looks fail', async () => {
  await letters.note([letter()]);
  await seen('-1 minute');
  expect([await letters.resolve('Leads'), await open()]).toEqual([0, 1]);
  await looksAside(db).keep('Leads', [{ id: ID, code: 'C', cause: 'c' }]);
  await db.pool.query(`update lockstep.record_version set observed_ms = extract(epoch from now() + interval '1 minute') * 1000`);
  expect(await letters.resolve('Leads')).toBe(0);
  await looksAside(db).answered('Leads', [ID]);
  expect([await letters.resolve('Deals'), await letters.resolve('Leads'), await open()]).toEqual([0, 1, 0]);
  await letters.note([letter()]);
  expect(await open()).toBe(1);
});

test('one that names no record is settled by a later reading of the whole module', async () => {
  await letters.note([letter({ module: 'Leads', jobId: '1', line: 3 }, { source: 'bulk-row' })]);
  await claimed('changes', 'Leads', '1 minute');
  await claimed('everything', 'Leads', '-1 minute');
  expect(await letters.resolve('Leads')).toBe(0);
  await claimed('everything', 'Leads', '1 minute');
  expect([await letters.resolve('Leads'), await open()]).toEqual([1, 0]);
});

test('one whose record cannot be found any more is settled by the look that did not find it, or by a later reading of the whole module', async () => {
  await letters.note([letter(), letter({ module: 'Leads', id: '7' }, { source: 'bulk-row' })]);
  await seen('-1 minute');
  expect(await letters.resolve('Leads')).toBe(0);
  await db.pool.query(`update lockstep.record_version set hidden_since = now() + interval '1 second'`);
  expect([await letters.resolve('Leads'), (await letters.list({ module: 'Leads', limit: 9 })).map(({ recordId }) => recordId)]).toEqual([1, ['7']]);
  await looksAside(db).keep('Leads', [{ id: '7', code: 'C', cause: 'c' }]);
  await claimed('everything', 'Leads', '1 minute');
  expect(await letters.resolve('Leads')).toBe(0);
  await looksAside(db).answered('Leads', ['7']);
  expect([await letters.resolve('Leads'), await open()]).toEqual([1, 0]);
});

test('one of no module counts for each until it was caught up with after it, and is settled with the last', async () => {
  await letters.note([letter({ topic: 'crm.notifications', partition: 0, offset: 7 }, { source: 'hint' })]);
  const counts = async (): Promise<unknown> => [await open('Deals'), await open('Leads'), ...(await readFreshness(db)).map(({ deadLetters }) => deadLetters), ...(await Promise.all(['Deals', 'Leads'].map(async (module) => (await readLeftOut(db, module)).deadLetters?.count ?? 0)))];
  expect(await counts()).toEqual([1, 1, 1, 1, 1, 1]);
  await claimed('changes', 'Leads', '-1 minute');
  expect(await counts()).toEqual([1, 1, 1, 1, 1, 1]);
  await db.pool.query('truncate lockstep.watermark');
  await claimed('changes', 'Leads', '1 minute');
  expect(await counts()).toEqual([1, 0, 1, 0, 1, 0]);
  expect(await letters.resolve('Leads')).toBe(0);
  await claimed('changes', 'Deals', '1 minute');
  expect(await letters.resolve('Leads')).toBe(1);
});

test('one that a person gives up counts no more, and is not opened again', async () => {
  await letters.note([letter()]);
  const [one] = await letters.list({ limit: 1 });
  const id = one?.id as string;
  expect([await letters.discard([id], 'a test record'), await letters.discard([id], 'again')]).toEqual([[id], []]);
  await letters.note([letter()]);
  expect([await open(), await letters.find(id)]).toMatchObject([0, { discardedBecause: 'a test record' }]);
});

test('those a database lost come back as they were written, the latest of a place, and open nothing that a person gave up', async () => {
  const at = (time: string): Date => new Date(`2026-05-04T${time}Z`);
  const given = letter({ module: 'Leads', id: '7' });
  await letters.note([given]);
  await letters.discard((await letters.list({ limit: 1 })).map(({ id }) => id), 'a test record');
  await letters.recall([{ ...letter(), at: at('10:00:00') }, { ...given, at: new Date(Date.now() + 60_000) }]);
  await letters.recall([{ ...letter(undefined, { cause: 'later' }), at: at('10:05:00') }]);
  await letters.recall([{ ...letter(), at: at('10:00:00') }]);
  expect(await letters.list({ limit: 9 })).toMatchObject([{ recordId: ID, cause: 'later', at: at('10:05:00') }]);
});
