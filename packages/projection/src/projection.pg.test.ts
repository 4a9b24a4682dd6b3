import { createTestDatabase } from '@lockstep/local-stack';
import { leads, products } from '@lockstep/modules';
import { connect, type Database, migrate } from '@lockstep/postgres';
import { coverage, encodeConfirmed, encodeCoverage, encodeSeen } from '@lockstep/record-log';
import type { PoolClient } from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import type { LogMessage } from './fold-batch.ts';
import { adoptMapping, ModuleProjection } from './module-projection.ts';
import { loadPositions } from './positions.ts';
import { projectBatch } from './project-batch.ts';
import { at, EPSILON_MS, recordId, Topic } from './testing.ts';


let testDatabase: Awaited<ReturnType<typeof createTestDatabase>>;
let db: Database;
let client: PoolClient;

beforeAll(async () => {
  testDatabase = await createTestDatabase({ legacySchema: true });
  db = await connect({ url: testDatabase.url, poolSize: 4 });
  await migrate(db, [leads, products]);
  client = await db.pool.connect();
});

afterAll(async () => {
  client.release();
  await db.close();
  await testDatabase.drop();
});

const rows = async (sql: string): Promise<unknown[]> => (await client.query(sql)).rows;
const leadRows = (columns: string): Promise<unknown[]> => rows(`select ${columns} from public.leads order by id`);
const parked = (topic: Topic): Promise<unknown[]> => rows(`select record_id, code, retryable from lockstep.parked where topic_id = '${topic.topicId}' order by log_offset`);

let topic: Topic;

beforeEach(async () => {
  await client.query('truncate public.leads, public.products cascade');
  await client.query('truncate lockstep.record_version, lockstep.projection_offset, lockstep.parked, lockstep.look_wanted');
  topic = new Topic(client, leads);
  await adoptMapping(db.pool, topic.projection);
});

// Both ways into the table: arrays below 50 records, COPY above.
describe.each([
  ['a small batch', 0],
  ['a large batch', 200],
])('%s', (_, others) => {
  const filler = (): LogMessage[] => Array.from({ length: others }, (__, i) => topic.seen({ n: 1000 + i, modified: '08:00:00', Last_Name: `Other ${i}` }));
  const ours = (columns: string): Promise<unknown[]> => rows(`select ${columns} from public.leads where id = ${recordId(1)}`);

  test('writes what was seen, value by value', async () => {
    const text = 'Écho "föxtrot"\nline\ttab \\N \\. 東京, 😀';
    await topic.project([
      ...filler(),
      topic.seen({
        modified: '10:00:00', Last_Name: text, Company: '', Annual_Revenue: '12345678901234.56', Email_Opt_Out: true, Converted__s: false,
        Owner: '5725767000000411001', Date_of_Birth: '1990-01-31', Created_Time: '2024-07-19T19:21:23Z', Lead_Score: '-7', External_Reference: '9007199254740993',
      }),
    ]);
    expect(await ours('last_name, company, annual_revenue::text, email_opt_out, converted, owner_id::text, date_of_birth::text, created_time, lead_score, external_reference::text, fax, deleted_at, modified_time')).toEqual([
      {
        last_name: text, company: '', annual_revenue: '12345678901234.56', email_opt_out: true, converted: false, owner_id: '5725767000000411001',
        date_of_birth: '1990-01-31', created_time: '2024-07-19 19:21:23+00', lead_score: -7, external_reference: '9007199254740993', fax: null, deleted_at: null, modified_time: '2026-03-02 10:00:00+00',
      },
    ].map((row) => expect.objectContaining({ ...row, created_time: expect.anything(), modified_time: expect.anything() })));
    expect(await ours('count(*)::int as n')).toEqual([{ n: 1 }]);
  });

  test('an outdated row never overwrites a newer one, in the same batch or a later one', async () => {
    const stale = (): LogMessage[] => [...filler(), topic.seen({ modified: '10:00:00', observed: '10:30:00', Last_Name: 'Old' })];
    await topic.project([...filler(), topic.seen({ modified: '10:05:00', Last_Name: 'New' }), ...stale()]);
    const applied = await topic.project(stale());
    expect(await ours('last_name')).toEqual([{ last_name: 'New' }]);
    expect(applied).toEqual({ applied: 0, refused: others + 1, refusedBulk: 0, rejects: 0, waiting: 0 });
  });

  test('a newer version replaces every mapped value and leaves foreign columns alone', async () => {
    await topic.project([...filler(), topic.seen({ modified: '10:00:00', Last_Name: 'Old', Fax: '1' })]);
    await client.query(`update public.leads set credit_limit = 77 where id = ${recordId(1)}`);
    const newer = Array.from({ length: others }, (__, i) => topic.seen({ n: 1000 + i, modified: '11:00:00', Last_Name: `Newer ${i}` }));
    await topic.project([...newer, topic.seen({ modified: '10:05:00', Last_Name: 'New' })]);
    expect(await ours('last_name, fax, credit_limit::int as credit_limit')).toEqual([{ last_name: 'New', fax: null, credit_limit: 77 }]);
  });

  test('a row that stood before the register knew it is taken over', async () => {
    await client.query(`insert into public.leads (id, modified_time, last_name, credit_limit) values (${recordId(1)}, now(), 'Legacy', 5)`);
    await topic.project([...filler(), topic.seen({ modified: '10:00:00', Last_Name: 'CRM' })]);
    expect(await ours('last_name, credit_limit::int as credit_limit')).toEqual([{ last_name: 'CRM', credit_limit: 5 }]);
  });

  test('a value that does not fit is parked, and everything else is applied', async () => {
    const applied = await topic.project([
      ...filler(),
      topic.seen({ n: 1, modified: '10:00:00', Last_Name: 'Good' }),
      topic.seen({ n: 1, modified: '10:01:00', Last_Name: 'Too long', Company: 'x'.repeat(201) }),
      topic.seen({ n: 2, modified: '10:00:00', Lead_Score: 'many' }),
      topic.seen({ n: 3, modified: '10:00:00', Last_Name: 'Also good' }),
    ]);
    expect(applied.rejects).toBe(2);
    expect(await rows(`select last_name from public.leads where id in (${recordId(1)}, ${recordId(2)}, ${recordId(3)}) order by id`)).toEqual([{ last_name: 'Good' }, { last_name: 'Also good' }]);
    expect(await parked(topic)).toEqual([
      { record_id: recordId(1), code: '22001', retryable: false },
      { record_id: recordId(2), code: '22P02', retryable: false },
    ]);
  });

  test('a repair replaces what had a later time, shows the time that was read, and is not undone by what it repaired', async () => {
    const imported = (): LogMessage => topic.seen({ modified: '23:00:00', observed: '10:00:00', Last_Name: 'Imported' });
    await topic.project([...filler(), imported()]);
    await topic.project([...filler(), topic.seen({ modified: '10:05:00', Last_Name: 'Edited' })]);
    expect(await ours('last_name')).toEqual([{ last_name: 'Imported' }]);
    await topic.project([...filler(), topic.repaired({ modified: '10:05:00', version: '23:00:00', observed: '10:30:00', Last_Name: 'Edited' })]);
    await topic.project([...filler(), imported()]);
    expect(await ours(`last_name, modified_time at time zone 'utc' = '2026-03-02 10:05' as is_read_time`)).toEqual([{ last_name: 'Edited', is_read_time: true }]);
    await topic.project([...filler(), topic.seen({ modified: '23:00:01', Last_Name: 'Long after' })]);
    expect(await ours('last_name')).toEqual([{ last_name: 'Long after' }]);
    expect(await rows(`select version_ms from lockstep.record_version where record_id = ${recordId(1)}`)).toEqual([{ version_ms: null }]);
  });

  test('of a repair and a plain observation that agree in all but the time they show, the later time stands, whichever comes first', async () => {
    const plain = (): LogMessage => topic.seen({ modified: '11:00:00', observed: '12:00:00', Last_Name: 'Same' });
    const repair = (): LogMessage => topic.repaired({ modified: '10:00:00', version: '11:00:00', observed: '12:00:00', Last_Name: 'Same' });
    for (const order of [[plain, repair], [repair, plain]]) {
      await client.query('truncate public.leads cascade; truncate lockstep.record_version');
      for (const message of order) await topic.project([...filler(), message()]);
      expect(await ours(`modified_time at time zone 'utc' = '2026-03-02 11:00' as is_later`)).toEqual([{ is_later: true }]);
    }
  });

  test('an event with bytes behind it is parked, whatever they are, and a text that cannot be stored with its column', async () => {
    const behind = ['x', '}', ']}', '}]}'].map((bytes, i) => {
      const { value, ...rest } = topic.seen({ n: 10 + i, modified: '10:00:00', Last_Name: 'Behind' });
      return { ...rest, value: Buffer.concat([value as Buffer, Buffer.from(bytes)]) };
    });
    const { applied } = await topic.project([...filler(), ...behind, topic.seen({ n: 20, modified: '10:00:00', Company: 'a\0b' }), topic.seen({ n: 21, modified: '10:00:00', City: '\ud800' }), topic.seen({ modified: '10:00:00', Last_Name: 'Good' })]);
    expect(applied).toBe(others + 1);
    expect(await rows(`select record_id, code from lockstep.parked where record_id < '${recordId(20)}' and code not like 'EVENT_%'`)).toEqual([]);
    expect(await rows(`select record_id, code, cause from lockstep.parked where record_id >= '${recordId(20)}' order by record_id`)).toEqual([
      { record_id: recordId(20), code: 'VALUE_NOT_STORABLE', cause: 'company: the text holds U+0000, which Postgres cannot store' },
      { record_id: recordId(21), code: 'VALUE_NOT_STORABLE', cause: 'city: the text holds U+d800, which Postgres cannot store' },
    ]);
    expect(await ours('last_name')).toEqual([{ last_name: 'Good' }]);
  });

  test('a second run of the same batch is fenced off and changes nothing', async () => {
    const batch = [...filler(), topic.seen({ modified: '10:00:00', Last_Name: 'Once' })];
    await topic.project(batch);
    await expect(topic.project(batch, { from: 0 })).rejects.toMatchObject({ code: 'POSITION_TAKEN' });
    expect(await ours('last_name')).toEqual([{ last_name: 'Once' }]);
  });

  test('a delete marks the row, a later look revives it, an earlier one does not', async () => {
    await topic.project([...filler(), topic.seen({ modified: '09:00:00', Last_Name: 'Kept' }), topic.deleted('10:00:00')]);
    expect(await ours(`last_name, deleted_at = '2026-03-02T10:00:00Z' as is_marked`)).toEqual([{ last_name: 'Kept', is_marked: true }]);
    await topic.project([...filler(), topic.seen({ modified: '09:30:00', observed: '10:00:30', Last_Name: 'Stale' })]);
    expect(await ours('deleted_at is null as is_alive')).toEqual([{ is_alive: false }]);
    await topic.project([...filler(), topic.seen({ modified: '09:30:00', observed: '10:02:00', Last_Name: 'Restored' })]);
    expect(await ours('last_name, deleted_at is null as is_alive')).toEqual([{ last_name: 'Restored', is_alive: true }]);
  });
});

describe('deletes', () => {
  test('a delete before the create leaves a marked row', async () => {
    await topic.project([topic.deleted('10:00:00')]);
    await topic.project([topic.seen({ modified: '09:00:00', Last_Name: 'Late' })]);
    expect(await leadRows('last_name, deleted_at is null as is_alive')).toEqual([{ last_name: 'Late', is_alive: false }]);
  });

  test('a module that removes its deleted rows has none, until a later look sees the record again', async () => {
    const removing = new Topic(client, products);
    await adoptMapping(db.pool, removing.projection);
    await removing.project([removing.seen({ modified: '09:00:00', Product_Name: 'A' }), removing.seen({ n: 2, modified: '09:00:00', Product_Name: 'B' })]);
    await removing.project([removing.deleted('10:00:00')]);
    expect(await rows('select product_name from public.products')).toEqual([{ product_name: 'B' }]);
    await removing.project([removing.seen({ modified: '09:00:00', observed: '09:30:00', Product_Name: 'A' })]);
    expect(await rows('select product_name from public.products')).toEqual([{ product_name: 'B' }]);
    await removing.project([removing.seen({ modified: '09:00:00', observed: '11:00:00', Product_Name: 'A' })]);
    expect(await rows('select product_name from public.products order by id')).toEqual([{ product_name: 'A' }, { product_name: 'B' }]);
  });

  test.each(['cascade', 'set null', 'set default'])('removing rows is refused where a foreign key would %s', async (action) => {
    await client.query(`create table public.cascading (product_id bigint default 0 references public.products (id) on delete ${action})`);
    await expect(adoptMapping(db.pool, new ModuleProjection(products, EPSILON_MS))).rejects.toMatchObject({ code: 'CASCADING_FOREIGN_KEY' });
    await client.query('drop table public.cascading');
  });
});

describe('a record that is noted as hidden', () => {
  const hidden = (): Promise<unknown[]> => rows('select record_id::text as id from lockstep.record_version where hidden_since is not null order by 1');

  test('is so no more when it is seen, confirmed or deleted', async () => {
    const seen = [1, 2, 3, 4].map((n) => topic.seen({ n, modified: '09:00:00', Last_Name: 'A' }));
    await topic.project(seen);
    await client.query('update lockstep.record_version set hidden_since = now()');
    const { hash } = JSON.parse(String(seen[1]?.value)) as { hash: string };
    await topic.project([
      topic.seen({ n: 1, modified: '09:00:00', observed: '10:00:00', Last_Name: 'A' }),
      topic.message(encodeConfirmed({ id: recordId(2), modifiedMs: at('09:00:00'), observedMs: at('10:00:00'), hash })),
      topic.deleted('10:00:00', 3),
    ]);
    expect(await hidden()).toEqual([{ id: recordId(4) }]);
  });

  test('stays so when only an old deletion becomes known, or an old listing: no look has seen it, and it is not dead', async () => {
    await topic.project([topic.seen({ modified: '09:00:00', observed: '12:00:00', Last_Name: 'A' })]);
    await client.query('update lockstep.record_version set hidden_since = now()');
    await topic.project([topic.deleted('10:00:00')]);
    await topic.project([topic.deleted('10:00:00', 1, '10:05:00')]);
    expect([await isAliveIn(), await hidden()]).toEqual([{ register: true, table: true }, [{ id: recordId(1) }]]);
    await topic.project([topic.deleted('11:59:30')]);
    expect([await isAliveIn(), await hidden()]).toEqual([{ register: false, table: false }, []]);
  });
});

/** What the register says of a record, by the rule's own columns, and what its row shows. */
const isAliveIn = async (n = 1): Promise<{ register: boolean; table: boolean }> => {
  const [found] = await rows(`select r.observed_ms > coalesce(r.deleted_ms + ${EPSILON_MS}, 0) as register, l.deleted_at is null as table
    from lockstep.record_version r join public.leads l on l.id = r.record_id where r.record_id = ${recordId(n)}`);
  return found as { register: boolean; table: boolean };
};

const hashIn = (message: LogMessage): string => (JSON.parse(String(message.value)) as { hash: string }).hash;

describe('a confirmation', () => {
  const confirmed = (observed: string, hash: string): LogMessage => topic.message(encodeConfirmed({ id: recordId(1), modifiedMs: at('09:00:00'), observedMs: at(observed), hash }));
  const wanted = (): Promise<unknown[]> => rows('select record_id, reason from lockstep.look_wanted');
  const observed = async (): Promise<unknown> => ((await rows('select observed_ms::float8 as at from lockstep.record_version'))[0] as { at: number }).at;

  test('does not make a dead record alive, in register or table; a look is wanted, and what it sees does', async () => {
    const seen = topic.seen({ modified: '09:00:00', Last_Name: 'Kept' });
    await topic.project([seen, topic.deleted('10:00:00')]);
    await topic.project([confirmed('12:00:00', hashIn(seen))]);
    expect([await isAliveIn(), await wanted()]).toEqual([{ register: false, table: false }, [{ record_id: recordId(1), reason: 'unconfirmed' }]]);
    await topic.project([topic.seen({ modified: '09:00:00', observed: '12:00:01', Last_Name: 'Kept' })]);
    expect(await isAliveIn()).toEqual({ register: true, table: true });
  });

  test('leaves register and table of one mind, whichever of look, deletion and confirmation comes first and however they are cut', async () => {
    const seen = (): LogMessage => topic.seen({ modified: '09:00:00', Last_Name: 'Kept' });
    const hash = hashIn(seen());
    const parts = [seen, () => topic.deleted('10:00:00'), () => confirmed('12:00:00', hash), () => confirmed('10:00:30', hash)];
    for (const order of permutations(parts)) {
      for (let cut = 0; cut < order.length; cut += 1) {
        await client.query('delete from public.leads; delete from lockstep.record_version');
        topic = new Topic(client, leads);
        for (const some of [order.slice(0, cut), order.slice(cut)]) if (some.length > 0) await topic.project(some.map((part) => part()));
        const { register, table } = await isAliveIn();
        expect(register).toBe(table);
        // Only one that was there before the deletion was known can have been right.
        const [at0, at1, at2] = parts.map((part) => order.indexOf(part)) as [number, number, number, number];
        expect(table).toBe(at0 < at2 && at2 < at1);
      }
    }
  });

  test('of a dead record that leaves it dead moves the look: the deletion is in doubt', async () => {
    const seen = topic.seen({ modified: '09:00:00', Last_Name: 'Kept' });
    await topic.project([seen, topic.deleted('10:00:00')]);
    await topic.project([confirmed('10:00:40', hashIn(seen)), confirmed('10:00:30', hashIn(seen))]);
    expect([await isAliveIn(), await observed(), await wanted()]).toEqual([{ register: false, table: false }, at('10:00:40'), []]);
  });

  test('of a restored record moves the look', async () => {
    const restored = topic.seen({ modified: '09:00:00', observed: '11:00:00', Last_Name: 'Kept' });
    await topic.project([topic.seen({ modified: '09:00:00', Last_Name: 'Kept' }), topic.deleted('10:00:00'), restored]);
    await topic.project([confirmed('12:00:00', hashIn(restored))]);
    expect([await isAliveIn(), await observed(), await wanted()]).toEqual([{ register: true, table: true }, at('12:00:00'), []]);
  });

  test('of another content than the one that stands does nothing, though the other comes in the same batch', async () => {
    const first = topic.seen({ modified: '09:00:00', Last_Name: 'First' });
    await topic.project([first, confirmed('11:00:00', hashIn(first)), topic.seen({ modified: '09:00:00', observed: '10:00:00', Last_Name: 'Outdated' })]);
    expect([await leadRows('last_name'), await observed(), await wanted()]).toEqual([[{ last_name: 'First' }], at('11:00:00'), []]);
  });
});

const permutations = <T>(all: readonly T[]): T[][] => (all.length === 0 ? [[]] : all.flatMap((one, i) => permutations(all.filter((_, j) => j !== i)).map((rest) => [one, ...rest])));

describe('what the deleted list said again', () => {
  const register = (): Promise<unknown[]> => rows('select deleted_ms::float8 as deleted, listed_ms::float8 as listed from lockstep.record_version where record_id < 5725767000000001000');

  test.each([
    ['a small batch', 0],
    ['a large batch', 100],
  ])('is kept as the latest time at which it was read, in %s', async (_, others) => {
    const filler = (): LogMessage[] => Array.from({ length: others }, (__, i) => topic.seen({ n: 1000 + i, modified: '08:00:00', Last_Name: `Other ${i}` }));
    await topic.project([...filler(), topic.seen({ modified: '09:59:50' }), topic.deleted('10:00:00', 1)]);
    expect(await register()).toEqual([{ deleted: at('10:00:00') + 999, listed: null }]);
    for (const [listed, kept] of [['10:00:05', '10:00:05'], ['10:03:00', '10:03:00'], ['10:01:00', '10:03:00']] as const) {
      await topic.project([...filler(), topic.deleted('10:00:00', 1, listed)]);
      expect(await register()).toEqual([{ deleted: at('10:00:00') + 999, listed: at(kept) }]);
    }
    await topic.project([...filler(), topic.deleted('10:00:00', 1), topic.deleted('09:00:00', 1, '09:30:00')]);
    expect(await register()).toEqual([{ deleted: at('10:00:00') + 999, listed: at('10:03:00') }]);
  });

  test('does not rewrite the row of a record that is known as deleted', async () => {
    await topic.project([topic.seen({ modified: '09:59:50' }), topic.deleted('10:00:00')]);
    const before = await leadRows('ctid::text, xmin::text');
    await topic.project([topic.deleted('10:00:00', 1, '10:03:00')]);
    expect(await leadRows('ctid::text, xmin::text')).toEqual(before);
  });
});

describe('a row of which nothing mapped differs', () => {
  test.each([
    ['a small batch', 1],
    ['a large batch', 80],
  ])('is not written again by a later look at the same content, in %s', async (_, count) => {
    const all = (observed: string): LogMessage[] => Array.from({ length: count }, (__, i) => topic.seen({ n: i + 1, modified: '09:00:00', observed, Last_Name: `Name ${i}` }));
    await topic.project(all('09:00:00'));
    const before = await leadRows('id, ctid::text, xmin::text');
    expect(await topic.project(all('11:00:00'))).toMatchObject({ applied: count });
    expect(await leadRows('id, ctid::text, xmin::text')).toEqual(before);
  });
});

describe('the log', () => {
  test('a confirmation moves the look, where it confirms what stands', async () => {
    const seen = topic.seen({ modified: '09:00:00', Last_Name: 'A' });
    await topic.project([seen]);
    const { hash } = JSON.parse(String(seen.value)) as { hash: string };
    const confirmed = (hashed: string): LogMessage => topic.message(encodeConfirmed({ id: recordId(1), modifiedMs: at('09:00:00'), observedMs: at('12:00:00'), hash: hashed }));
    await topic.project([confirmed('0'.repeat(32))]);
    expect(await rows('select observed_ms::float as observed from lockstep.record_version')).toEqual([{ observed: at('09:00:00') }]);
    await topic.project([confirmed(hash)]);
    expect(await rows('select observed_ms::float as observed from lockstep.record_version')).toEqual([{ observed: at('12:00:00') }]);
  });

  test('a confirmation of what was repaired moves the look', async () => {
    const repaired = topic.repaired({ modified: '10:05:00', version: '23:00:00', observed: '10:30:00', Last_Name: 'Edited' });
    await topic.project([repaired]);
    const { hash } = JSON.parse(String(repaired.value)) as { hash: string };
    await topic.project([topic.message(encodeConfirmed({ id: recordId(1), modifiedMs: at('10:05:00'), versionMs: at('23:00:00'), observedMs: at('12:00:00'), hash }))]);
    expect(await rows('select observed_ms::float as observed from lockstep.record_version')).toEqual([{ observed: at('12:00:00') }]);
    expect(await rows('select from lockstep.look_wanted')).toEqual([]);
  });

  test.each([['two batches', false], ['one batch', true]])('events of an earlier coverage make no statement about newer fields, in %s', async (_, isOne) => {
    const narrow = coverage(['Company', 'Gone_Field', 'Last_Name']);
    const event = encodeSeen({ id: recordId(1), modifiedMs: at('10:00:00'), observedMs: at('10:00:00'), coverage: narrow.id, fields: ['C', 'x', 'B'] });
    await topic.project([topic.message(encodeCoverage({ coverage: narrow.id, fields: narrow.fields }))]);
    const messages = [topic.seen({ modified: '09:00:00', Last_Name: 'A', Fax: '1' }), topic.message(event.value)];
    for (const batch of isOne ? [messages] : messages.map((one) => [one])) await topic.project(batch);
    expect(await leadRows('last_name, company, fax')).toEqual([{ last_name: 'B', company: 'C', fax: '1' }]);
  });

  test('a coverage that was declared is known to a process that starts later, in the middle of the log', async () => {
    const narrow = coverage(['Company', 'Last_Name']);
    await topic.project([topic.message(encodeCoverage({ coverage: narrow.id, fields: narrow.fields }))]);
    const event = encodeSeen({ id: recordId(1), modifiedMs: at('10:00:00'), observedMs: at('10:00:00'), coverage: narrow.id, fields: ['C', 'B'] });
    const message = topic.message(event.value);
    const restarted = new ModuleProjection(leads, EPSILON_MS);
    await projectBatch(client, restarted, { topic: topic.topicId, topicId: topic.topicId, messages: [message], positions: new Map([[0, { from: message.offset, to: message.offset + 1 }]]) });
    expect(await leadRows('last_name, company')).toEqual([{ last_name: 'B', company: 'C' }]);
    expect(await parked(topic)).toEqual([]);
  });

  test('an event of an undeclared coverage is parked', async () => {
    const event = encodeSeen({ id: recordId(1), modifiedMs: 1, observedMs: 1, coverage: 'deadbeef', fields: ['x'] });
    await topic.project([topic.message(event.value)]);
    expect(await parked(topic)).toEqual([{ record_id: recordId(1), code: 'COVERAGE_UNKNOWN', retryable: false }]);
  });

  test('a message that is no event is parked with its position, and the partition moves on', async () => {
    await topic.project([topic.message(null), topic.message('{'), topic.seen({ modified: '10:00:00', Last_Name: 'A' })]);
    expect(await parked(topic)).toEqual([
      { record_id: null, code: 'EVENT_MALFORMED', retryable: false },
      { record_id: null, code: 'EVENT_MALFORMED', retryable: false },
    ]);
    expect(await leadRows('last_name')).toEqual([{ last_name: 'A' }]);
  });

  test('an event of a newer version stops the partition with nothing applied', async () => {
    const batch = [topic.seen({ modified: '10:00:00', Last_Name: 'A' }), topic.message('{"v":3,"type":"seen"}')];
    await expect(topic.project(batch)).rejects.toMatchObject({ code: 'EVENT_VERSION_UNKNOWN' });
    expect(await leadRows('last_name')).toEqual([]);
  });

  test('a topic created again is refused, not skipped', async () => {
    await loadPositions(client, { topic: 't', topicId: 'one', partitions: [0] });
    await expect(loadPositions(client, { topic: 't', topicId: 'two', partitions: [0] })).rejects.toMatchObject({ code: 'TOPIC_RECREATED' });
  });

  test('a process whose mapping was replaced stops', async () => {
    await client.query(`update lockstep.mapping set fingerprint = 'newer' where module = 'Leads'`);
    await expect(topic.project([topic.seen({ modified: '10:00:00' })])).rejects.toMatchObject({ code: 'MAPPING_CHANGED' });
  });
});
