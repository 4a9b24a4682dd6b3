import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { drivenClock, type DrivenClock } from './clock.ts';
import { bulkJob, type CrmUnderTest, type Json, startCrm } from './crm-under-test.ts';

let clock: DrivenClock;
let crm: CrmUnderTest;

beforeEach(async () => {
  clock = drivenClock(Date.UTC(2026, 0, 1));
  crm = await startCrm({ clock, records: { Leads: 20, Deals: 5, Products: 5 }, jobDelayMs: 0 });
});
afterEach(() => crm.close());

const post = (path: string, body: unknown = {}): Promise<{ status: number; body: Json }> => crm.send('POST', `/__simulator/${path}`, body);
const record = async (module: string, id: string): Promise<Json> => (await crm.get(`/__simulator/records/${module}/${id}`)).body;
const queried = async (where: string): Promise<string[]> => {
  const { status, body } = await crm.send('POST', '/crm/v8/coql', { select_query: `select id from Leads where ${where} limit 200` });
  return status === 204 ? [] : (body['data'] as { id: string }[]).map(({ id }) => id);
};
const count = async (): Promise<number> => (await crm.get('/crm/v8/Leads/actions/count')).body['count'] as number;

test('a converted lead leaves the lists and stays in queries, with a new Modified_Time', async () => {
  const [id = ''] = crm.crm.firstIds('Leads', 1);
  await clock.advance(60_000);
  expect((await post(`records/Leads/${id}/convert`)).body).toMatchObject({ Converted__s: true, Modified_Time: '2026-01-01T00:01:00Z' });
  expect((await crm.get(`/crm/v8/Leads?ids=${id}&fields=Last_Name`)).status).toBe(204);
  expect(await queried(`id = '${id}'`)).toEqual([id]);
});

describe('a merge', () => {
  test.each([[false, '2026-01-01T00:01:00Z'], [true, '2026-01-01T00:02:00Z']])('deletes the one, and lets what pointed to it point to the other; moving their times: %j', async (movesReferrers, modified) => {
    const [loser = '', master = ''] = crm.crm.firstIds('Products', 2);
    const [deal = '', other = ''] = crm.crm.firstIds('Deals', 2);
    await clock.advance(60_000);
    await post(`records/Deals/${deal}`, { Main_Product: loser });
    await post(`records/Deals/${other}`, { Main_Product: master });
    await clock.advance(60_000);
    expect((await post(`records/Products/${loser}/merge`, { into: master, movesReferrers })).body).toEqual({ id: loser, deleted_time: '2026-01-01T00:02:00Z', type: 'recycle' });
    expect(await record('Deals', deal)).toMatchObject({ Main_Product: master, Modified_Time: modified });
    expect(await record('Deals', other)).toMatchObject({ Main_Product: master, Modified_Time: '2026-01-01T00:01:00Z' });
    expect(await record('Products', master)).toMatchObject({ Modified_Time: '2026-01-01T00:02:00Z' });
  });

  test('of a record into itself, or into one there is not, is refused', async () => {
    const [id = ''] = crm.crm.firstIds('Products', 1);
    expect((await post(`records/Products/${id}/merge`, { into: id })).status).toBe(400);
    expect((await post(`records/Products/${id}/merge`, { into: '1' })).status).toBe(404);
    expect((await record('Products', id))['id']).toBe(id);
  });
});

test('hidden records are in no read and in no count, and are not deleted; the truth has them', async () => {
  const ids = crm.crm.firstIds('Leads', 20);
  const [first = '', ...rest] = ids;
  expect((await post('hidden', { module: 'Leads', first: 1, hidden: true })).body).toEqual({ hidden: 1 });
  expect(await queried(`id = '${first}'`)).toEqual([]);
  expect(await queried('id > 0')).toEqual(rest);
  expect((await crm.get(`/crm/v8/Leads/${first}`)).status).toBe(204);
  expect((await bulkJob(crm, { module: { api_name: 'Leads' } }))['result']).toMatchObject({ count: 19 });
  expect(await count()).toBe(19);
  expect((await crm.get('/crm/v8/Leads/deleted')).status).toBe(204);
  expect([...crm.crm.truth('Leads')].map(({ id }) => id)).toEqual(ids);
  await post('hidden', { module: 'Leads', ids: [first], hidden: false });
  expect([await queried(`id = '${first}'`), await count()]).toEqual([[first], 20]);
});

test('an import may set a Modified_Time that is yet to come, and an edit after it sets it back', async () => {
  const [id = ''] = crm.crm.firstIds('Leads', 1);
  await post('mass-edit', { module: 'Leads', ids: [id], fields: { City: 'Rome' }, silent: true, modifiedTime: '2030-06-01T00:00:00+02:00' });
  expect(await record('Leads', id)).toMatchObject({ City: 'Rome', Modified_Time: '2030-05-31T22:00:00Z' });
  expect(await queried(`Modified_Time > '2026-01-01T00:00:00+00:00'`)).toEqual([id]);
  await post(`records/Leads/${id}`, { City: 'Oslo' });
  expect(await record('Leads', id)).toMatchObject({ City: 'Oslo', Modified_Time: '2026-01-01T00:00:00Z' });
});
