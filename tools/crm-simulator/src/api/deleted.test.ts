import { afterAll, beforeAll, expect, test } from 'vitest';

import { drivenClock } from '../clock.ts';
import { type CrmUnderTest, type Json, startCrm } from '../crm-under-test.ts';

const DAY_MS = 86_400_000;
const clock = drivenClock(Date.UTC(2026, 0, 1));
let crm: CrmUnderTest;

beforeAll(async () => {
  crm = await startCrm({ clock, records: { Leads: 500, Deals: 10, Products: 10 } });
});
afterAll(() => crm.close());

const deleted = (module: string, params = '', headers = {}) => crm.get(`/crm/v8/${module}/deleted?${params}`, headers);
const ids = ({ body }: { body: Json }): unknown[] => (body['data'] as Json[]).map(({ id }) => id as unknown);

test('a record in the recycle bin is listed with its name and people, a purged one without', async () => {
  const [one = '', other = ''] = crm.crm.firstIds('Deals', 2);
  const name = crm.crm.record('Deals', one)['Deal_Name'];
  await crm.send('DELETE', `/crm/v8/Deals?ids=${one}`);
  crm.crm.deleteRecord('Deals', other, 'permanent');
  const time = '2026-01-01T05:30:00+05:30';
  expect((await deleted('Deals')).body['data']).toMatchObject([
    { id: other, type: 'permanent', display_name: null, deleted_by: null, created_by: null, deleted_time: time },
    { id: one, type: 'recycle', display_name: name, deleted_by: { name: 'Integration User' }, deleted_time: time },
  ]);
  expect(ids(await deleted('Deals', 'type=recycle'))).toEqual([one]);
  expect(ids(await deleted('Deals', 'type=permanent'))).toEqual([other]);
});

test('nothing deleted is 204, and a wrong type is refused', async () => {
  expect((await deleted('Products')).status).toBe(204);
  expect((await deleted('Products', 'type=gone')).body['code']).toBe('PATTERN_NOT_MATCHED');
  expect((await deleted('Notes')).body['code']).toBe('INVALID_MODULE');
});

test('the list goes on by page number, two hundred a page, the newest first', async () => {
  const gone = crm.crm.firstIds('Leads', 250);
  for (const id of gone) crm.crm.deleteRecord('Leads', id);
  const [first, second] = [await deleted('Leads', 'page=1'), await deleted('Leads', 'page=2')];
  expect([first.body['info'], second.body['info']]).toMatchObject([{ count: 200, more_records: true }, { count: 50, more_records: false }]);
  expect([...ids(first), ...ids(second)]).toEqual(gone.toReversed());
});

test('If-Modified-Since asks for the time of the deletion', async () => {
  await clock.advance(10_000);
  const since = { 'if-modified-since': new Date(clock.nowMs()).toISOString() };
  expect((await deleted('Products', '', since)).status).toBe(204);
  await clock.advance(1000);
  const [id = ''] = crm.crm.firstIds('Products', 1);
  crm.crm.deleteRecord('Products', id);
  expect(ids(await deleted('Products', '', since))).toEqual([id]);
});

test('the list forgets: the recycle bin after 60 days, what was purged after 120', async () => {
  await clock.advance(61 * DAY_MS);
  expect((await deleted('Deals', 'type=recycle')).status).toBe(204);
  expect((await deleted('Deals')).body['data']).toHaveLength(1);
  await clock.advance(60 * DAY_MS);
  expect((await deleted('Deals')).status).toBe(204);
});
