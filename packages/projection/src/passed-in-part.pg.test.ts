import { createTestDatabase, type TestDatabase } from '@lockstep/local-stack';
import { coverageOf, deals, leads } from '@lockstep/modules';
import { connect, type Database, migrate, readFreshness, wantedLooks } from '@lockstep/postgres';
import { coverage, encodeConfirmed, encodeCoverage, encodeSeen, type FieldValue } from '@lockstep/record-log';
import type { PoolClient } from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import type { LogMessage } from './fold-batch.ts';
import { adoptMapping } from './module-projection.ts';
import { type Retried, retryParked } from './retry-parked.ts';
import { at, recordId, Topic } from './testing.ts';

/** A look of a smaller coverage, one that cannot read a text in full, says nothing of that text: a parked content that has it is not overtaken. */
let testDatabase: TestDatabase;
let db: Database;
let client: PoolClient;
let topic: Topic;

beforeAll(async () => {
  testDatabase = await createTestDatabase({ legacySchema: true });
  db = await connect({ url: testDatabase.url, poolSize: 4 });
  await migrate(db, [leads, deals]);
  client = await db.pool.connect();
  await client.query(`
    alter table public.deals add constraint of_contact foreign key (contact_id) references public.leads (id), add constraint one_text unique (description),
      alter column description set not null, alter column next_step type varchar(5)`);
});
afterAll(async () => {
  client.release();
  await db.close();
  await testDatabase.drop();
});
beforeEach(async () => {
  await client.query('truncate public.leads, public.deals cascade; truncate lockstep.record_version, lockstep.projection_offset, lockstep.parked, lockstep.look_wanted');
  topic = new Topic(client, deals);
  await adoptMapping(db.pool, topic.projection);
  await topic.project([withoutText, withoutTextNorStep].map((one) => topic.message(encodeCoverage({ coverage: one.id, fields: one.fields }))));
  await topic.project([topic.seen({ modified: '09:00:00', Deal_Name: 'First', Description: 'first text' })]);
});

const withoutText = coverage(coverageOf(deals).fields.filter((field) => field !== 'Description'));
const withoutTextNorStep = coverage(withoutText.fields.filter((field) => field !== 'Next_Step'));

type Values = { readonly n?: number; readonly modified: string; readonly observed?: string; readonly [field: string]: FieldValue | undefined | number };
const part = ({ n = 1, modified, observed = modified, ...values }: Values, covered = withoutText): LogMessage =>
  topic.message(encodeSeen({ id: recordId(n), modifiedMs: at(modified), observedMs: at(observed), coverage: covered.id, fields: covered.fields.map((field) => (values[field] ?? null) as FieldValue) }).value);
const confirmed = (message: LogMessage, observed: string): LogMessage => {
  const { id, m, hash } = JSON.parse(String(message.value)) as { id: string; m: number; hash: string };
  return topic.message(encodeConfirmed({ id, modifiedMs: m, observedMs: at(observed), hash }));
};
/** A full content that waits for a row to point to. */
const waits = (modified: string, text: string, values: Record<string, FieldValue> = {}): LogMessage => topic.seen({ modified, Deal_Name: 'Waits', Description: text, Contact_Name: recordId(9), ...values });

const contact = (): Promise<unknown> => client.query(`insert into public.leads (id) values (${recordId(9)})`);
const row = async (): Promise<unknown> => (await client.query('select deal_name as name, description as text, next_step as step from public.deals order by id limit 1')).rows[0];
const parked = async (): Promise<unknown> => (await readFreshness(db)).find((one) => one.module === 'Deals')?.parked;
const overtake = (): Promise<void> => wantedLooks(db).resolveOvertaken();
async function retry(): Promise<Retried> {
  await client.query(`update lockstep.parked set tried_at = now() - interval '1 hour' where resolved_at is null or value is not null`);
  return retryParked(client, topic.projection);
}

describe('a content that waits, passed by a newer one that says nothing of a text', () => {
  beforeEach(async () => {
    await topic.project([waits('10:05:00', 'second text')]);
    await topic.project([part({ modified: '10:06:00', Deal_Name: 'Passed' })]);
    await overtake();
  });

  test('still counts, and its text becomes the row\'s once it fits', async () => {
    expect([await row(), await parked()]).toEqual([{ name: 'Passed', text: 'first text', step: null }, 1]);
    expect(await retry()).toEqual({ resolved: 1, waiting: 0 });
    expect([await row(), await parked()]).toEqual([{ name: 'Passed', text: 'second text', step: null }, 0]);
  });

  test('is overtaken by a newer one that speaks of the text', async () => {
    await topic.project([topic.seen({ modified: '10:07:00', Deal_Name: 'Newest', Description: 'third text' })]);
    await overtake();
    expect(await parked()).toBe(0);
    await retry();
    expect(await row()).toEqual({ name: 'Newest', text: 'third text', step: null });
  });

  test('is not overtaken by looks that confirm the one that passed it, however late', async () => {
    const again = part({ modified: '10:07:00', Deal_Name: 'Passed again' });
    await topic.project([again, confirmed(again, '12:00:00')]);
    await overtake();
    expect(await parked()).toBe(1);
    await retry();
    expect([await row(), await parked()]).toEqual([{ name: 'Passed again', text: 'second text', step: null }, 0]);
  });

  test('gives way to one that waits as well, is newer, and speaks of the text', async () => {
    await topic.project([waits('10:05:30', 'newer text')]);
    await topic.project([waits('10:08:00', 'newest text')]);
    await contact();
    await retry();
    expect([await row(), await parked()]).toEqual([{ name: 'Waits', text: 'newest text', step: null }, 0]);
  });

  test('keeps the row\'s newer times and its deletion', async () => {
    await topic.project([topic.deleted('10:20:00')]);
    await overtake();
    expect(await parked()).toBe(0);
    await retry();
    const { rows } = await client.query(`select description as text, deleted_at::text as deleted, modified_time::text as modified from public.deals`);
    expect(rows).toEqual([{ text: 'second text', deleted: '2026-03-02 10:20:00+00', modified: '2026-03-02 10:06:00+00' }]);
  });

  test('writes no row where there is none', async () => {
    await client.query('delete from public.deals');
    expect(await retry()).toEqual({ resolved: 1, waiting: 0 });
    expect([await row(), await parked()]).toEqual([undefined, 0]);
  });
});

test('a text that still conflicts waits on, and is written when it fits', async () => {
  await topic.project([topic.seen({ n: 2, modified: '08:00:00', Description: 'taken' }), waits('10:05:00', 'taken')]);
  await topic.project([part({ modified: '10:06:00', Deal_Name: 'Passed' })]);
  await contact();
  expect(await retry()).toEqual({ resolved: 0, waiting: 1 });
  await topic.project([topic.seen({ n: 2, modified: '08:30:00', Description: 'free' })]);
  expect(await retry()).toEqual({ resolved: 1, waiting: 0 });
  expect([await row(), await parked()]).toEqual([{ name: 'Passed', text: 'taken', step: null }, 0]);
});

test('of two that were passed the newer text stands, in either order', async () => {
  for (const times of [['10:03:00', '10:05:00'], ['10:05:00', '10:03:00']]) {
    await topic.project(times.map((modified) => waits(modified, modified)));
    await topic.project([part({ modified: '10:06:00', Deal_Name: 'Passed' })]);
    await retry();
    expect([await row(), await parked()]).toEqual([{ name: 'Passed', text: '10:05:00', step: null }, 0]);
    await client.query('truncate public.deals, lockstep.record_version, lockstep.parked');
    await topic.project([topic.seen({ modified: '09:00:00', Deal_Name: 'First', Description: 'first text' })]);
  }
});

test('passed by two coverages, it counts for what neither speaks of', async () => {
  await topic.project([waits('10:05:00', 'second text', { Next_Step: 'call' })]);
  await topic.project([part({ modified: '10:06:00', Deal_Name: 'Passed' }, withoutTextNorStep)]);
  await topic.project([part({ modified: '10:07:00', Deal_Name: 'Passed', Next_Step: 'write' })]);
  await retry();
  expect([await row(), await parked()]).toEqual([{ name: 'Passed', text: 'second text', step: 'write' }, 0]);
});

test('passed by a smaller coverage in the same try, it counts for the rest', async () => {
  await topic.project([topic.seen({ n: 2, modified: '08:00:00', Description: 'taken' }), waits('10:05:00', 'taken')]);
  await topic.project([part({ modified: '10:06:00', Deal_Name: 'Passed', Contact_Name: recordId(9) })]);
  await contact();
  await retry();
  expect([await row(), await parked()]).toEqual([{ name: 'Passed', text: 'first text', step: null }, 1]);
  await topic.project([topic.seen({ n: 2, modified: '08:30:00', Description: 'free' })]);
  await retry();
  expect([await row(), await parked()]).toEqual([{ name: 'Passed', text: 'taken', step: null }, 0]);
});

test('what a full content has overtaken is not brought back by a smaller one after it', async () => {
  await topic.project([waits('10:05:00', 'second text')]);
  await topic.project([topic.seen({ modified: '10:06:00', Deal_Name: 'Newer', Description: 'third text' })]);
  await topic.project([part({ modified: '10:07:00', Deal_Name: 'Passed' })]);
  await contact();
  await retry();
  expect([await row(), await parked()]).toEqual([{ name: 'Passed', text: 'third text', step: null }, 0]);
});

test('what the record has returned from is not brought back by a smaller coverage after it', async () => {
  const stands = topic.seen({ modified: '09:30:00', Deal_Name: 'Stands', Description: 'first text' });
  await topic.project([stands]);
  await topic.project([waits('10:05:00', 'second text')]);
  await topic.project([confirmed(stands, '10:16:00')]);
  await topic.project([part({ modified: '10:20:00', Deal_Name: 'Passed' })]);
  await contact();
  await retry();
  expect([await row(), await parked()]).toEqual([{ name: 'Passed', text: 'first text', step: null }, 0]);
});

test('parked for good, it stays open until a newer one speaks of all of it', async () => {
  await topic.project([topic.seen({ modified: '10:05:00', Deal_Name: 'Too long', Next_Step: 'too long', Description: 'second text' })]);
  await topic.project([part({ modified: '10:06:00', Deal_Name: 'Passed' })]);
  await overtake();
  expect(await parked()).toBe(1);
  await topic.project([topic.seen({ modified: '10:06:00', observed: '10:30:00', Deal_Name: 'Full', Description: 'third text' })]);
  await overtake();
  expect([await row(), await parked()]).toEqual([{ name: 'Full', text: 'third text', step: null }, 0]);
});

test('parked for good, it is resolved where the field that is left is mapped no more', async () => {
  await topic.project([topic.seen({ modified: '10:05:00', Deal_Name: 'Too long', Next_Step: 'too long', Description: 'second text' })]);
  await topic.project([part({ modified: '10:06:00', Deal_Name: 'Passed' })]);
  await client.query('alter table public.deals alter column description drop not null');
  const { fields, ...rest } = deals;
  const smaller = new Topic(client, { ...rest, fields: fields.filter(({ field }) => field !== 'Description') });
  await adoptMapping(db.pool, smaller.projection);
  await smaller.project([smaller.seen({ modified: '10:30:00', Deal_Name: 'Newer' })]);
  await overtake();
  expect(await parked()).toBe(0);
  await client.query('alter table public.deals alter column description set not null');
});

test('rows that swap a unique value by looks that say nothing of a column that may not be null', async () => {
  await client.query('alter table public.deals add constraint one_step unique (next_step)');
  await topic.project([topic.seen({ modified: '10:00:00', Description: 'a', Next_Step: '1' }), topic.seen({ n: 2, modified: '10:00:00', Description: 'b', Next_Step: '2' })]);
  await topic.project([part({ modified: '11:00:00', Next_Step: '2' }), part({ n: 2, modified: '11:00:00', Next_Step: '1' })]);
  await retry();
  expect([(await client.query('select description as text, next_step as step from public.deals order by id')).rows, await parked()]).toEqual([[{ text: 'a', step: '2' }, { text: 'b', step: '1' }], 0]);
  await client.query('alter table public.deals drop constraint one_step');
});

test('where deleted rows are removed: what a content says of a dead record overtakes as well', async () => {
  const removing = new Topic(client, { ...deals, onDelete: { action: 'remove' } });
  const same = (message: LogMessage): LogMessage => removing.message(String(message.value));
  await adoptMapping(db.pool, removing.projection);
  await removing.project([same(waits('10:05:00', 'second text'))]);
  await removing.project([same(part({ modified: '10:06:00', Deal_Name: 'Passed' }))]);
  await removing.project([removing.deleted('10:20:00')]);
  await removing.project([removing.seen({ modified: '10:10:00', Description: 'third text' })]);
  await overtake();
  expect((await client.query('select from lockstep.parked where resolved_at is null or value is not null')).rowCount).toBe(0);
});

test('a batch that is halved loses nothing where a half has to be cut, and the whole had not', async () => {
  const messages = [
    topic.seen({ modified: '10:01:00', Deal_Name: 'Before', Description: 'second text' }),
    topic.seen({ modified: '10:03:00', Deal_Name: 'Stands', Description: 'third text' }),
    part({ modified: '10:02:00', Deal_Name: 'Outdated' }),
    waits('10:05:00', 'fourth text'),
  ];
  expect(await topic.project(messages)).toMatchObject({ waiting: 1 });
  expect([await row(), await parked()]).toEqual([{ name: 'Stands', text: 'third text', step: null }, 1]);
  await contact();
  await retry();
  expect([await row(), await parked()]).toEqual([{ name: 'Waits', text: 'fourth text', step: null }, 0]);
});

test('a trigger that changes the text keeps it waiting, and says so', async () => {
  await client.query(`create function pg_temp.upper() returns trigger language plpgsql as $$ begin new.description := upper(new.description); return new; end $$`);
  await topic.project([waits('10:05:00', 'second text')]);
  await topic.project([part({ modified: '10:06:00', Deal_Name: 'Passed' })]);
  await client.query('create trigger upper before update of description on public.deals for each row execute function pg_temp.upper()');
  try {
    await retry();
    expect((await client.query('select code, cause from lockstep.parked where resolved_at is null')).rows).toEqual([{ code: 'VALUE_NOT_EXACT', cause: expect.stringMatching(/^description: a trigger/) as string }]);
    expect(await row()).toEqual({ name: 'Passed', text: 'first text', step: null });
  } finally {
    await client.query('drop trigger upper on public.deals');
  }
});

test('a look of a smaller coverage updates a row of which another column may not be null', async () => {
  expect(await topic.project([part({ modified: '10:06:00', Deal_Name: 'Passed' })])).toMatchObject({ applied: 1, rejects: 0 });
  expect(await row()).toEqual({ name: 'Passed', text: 'first text', step: null });
});
