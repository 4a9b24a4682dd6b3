import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';

import type { Database } from './database.ts';
import { fieldsMissing } from './fields-missing.ts';
import { readFreshness } from './freshness.ts';
import { readLeftOut, readUnreadHints } from './left-out.ts';
import { looksAside } from './looks-aside.ts';
import { OF_HINTS, partitionStates } from './partition-states.ts';
import { openTestDatabase } from './testing.ts';

let db: Database;

beforeAll(async () => {
  db = await openTestDatabase([{ slug: 'leads', apiName: 'Leads' }]);
});
afterAll(() => db.close());
beforeEach(async () => {
  await db.pool.query('truncate lockstep.parked, lockstep.look_aside, lockstep.field_missing, lockstep.partition_state, lockstep.paused, lockstep.mapping');
});

const nothing = { halted: null, stuck: null, parked: null, aside: null, deadLetters: null, missingFields: null };
const park = (offset: number, cause: string, resolved = 'null') =>
  db.pool.query(`insert into lockstep.parked (module, topic_id, topic, partition, log_offset, code, cause, retryable, resolved_at) values ('Leads', 't', 'crm.leads', 0, $1, '23514', $2, false, ${resolved})`, [offset, cause]);
const partition = (number: number, { halted = 'null', oldest = 'null', noted = 'now()' }) =>
  db.pool.query(`insert into lockstep.partition_state (topic, partition, module, halted_since, cause, oldest_unapplied_at, noted_at) values ('crm.leads', $1, 'Leads', ${halted}, 'because', ${oldest}, ${noted})`, [number]);

test('nothing is left out of a module that lacks nothing, whatever others lack', async () => {
  await park(1, 'over', 'now()');
  await partition(0, { oldest: `now() - interval '10 seconds'` });
  await looksAside(db).keep('Deals', [{ id: '7', code: 'CRM_REFUSED', cause: 'no' }]);
  await looksAside(db).wait('Leads', ['8']);
  expect(await readLeftOut(db, 'Leads')).toEqual(nothing);
});

test('what is parked is counted, with its most frequent cause and the earliest time', async () => {
  await park(1, 'rare');
  await park(2, 'frequent');
  await park(3, 'frequent');
  await db.pool.query(`update lockstep.parked set parked_at = '2026-03-02T10:00:00Z' where log_offset = 3`);
  expect(await readLeftOut(db, 'Leads')).toEqual({ ...nothing, parked: { count: 3, since: new Date('2026-03-02T10:00:00Z'), cause: '23514: frequent' } });
});

test('partitions that are halted, and those that stand still, are counted apart; what no projector notes any more is neither', async () => {
  await partition(0, { halted: `now() - interval '1 hour'`, oldest: `now() - interval '1 hour'` });
  await partition(1, { oldest: `now() - interval '2 minutes'` });
  await partition(2, { halted: 'now()', noted: `now() - interval '2 minutes'` });
  expect(await readLeftOut(db, 'Leads')).toMatchObject({ halted: { count: 1, cause: 'crm.leads/0: because' }, stuck: { count: 1, cause: 'crm.leads/1: its oldest message is not applied' } });
  await db.pool.query(`insert into lockstep.paused (module, reason) values ('Leads', '')`);
  expect(await readLeftOut(db, 'Leads')).toMatchObject({ halted: { count: 1 }, stuck: null });
});

test('records that cannot be read and fields that are missing count until they are read again', async () => {
  await looksAside(db).keep('Leads', [{ id: '7', code: 'CRM_REFUSED', cause: 'no' }]);
  await fieldsMissing(db).note({ module: 'Leads', field: 'Fax', cause: 'INVALID_QUERY', since: new Date() });
  expect(await readLeftOut(db, 'Leads')).toMatchObject({ aside: { count: 1, cause: 'CRM_REFUSED: no' }, missingFields: { count: 1, cause: 'Fax: INVALID_QUERY' } });
  await looksAside(db).answered('Leads', ['7']);
  await fieldsMissing(db).back('Leads', 'Fax');
  expect(await readLeftOut(db, 'Leads')).toEqual({ ...nothing, missingFields: expect.objectContaining({ cause: 'Fax: it is back, and what was missed is still to be read' }) as unknown });
  await db.pool.query(`insert into lockstep.mapping (module, fingerprint) values ('Leads', 'x')`);
  expect(await readFreshness(db)).toMatchObject([{ module: 'Leads', missingFields: 1 }]);
  await fieldsMissing(db).done('Leads', 'Fax');
  expect(await readLeftOut(db, 'Leads')).toEqual(nothing);
});

test('hints that the reader cannot read count for themselves, until they are read again', async () => {
  await partitionStates(db).note([{ topic: 'crm.notifications', partition: 3, module: OF_HINTS, haltedSince: new Date(), cause: 'because', oldestUnappliedAt: null }]);
  expect([await readUnreadHints(db), await readLeftOut(db, 'Leads')]).toMatchObject([{ count: 1, cause: 'crm.notifications/3: because' }, nothing]);
  await partitionStates(db).forget('crm.notifications', [3]);
  expect(await readUnreadHints(db)).toBe(null);
});
