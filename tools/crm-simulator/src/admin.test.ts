import { afterAll, beforeAll, expect, test } from 'vitest';

import { drivenClock } from './clock.ts';
import { type CrmUnderTest, type Json, startCrm } from './crm-under-test.ts';

const clock = drivenClock(Date.UTC(2026, 0, 1));
let crm: CrmUnderTest;

beforeAll(async () => {
  crm = await startCrm({ clock, records: { Leads: 500, Deals: 10, Products: 10 } });
});
afterAll(() => crm.close());

const get = async (path: string): Promise<Json> => (await crm.get(`/__simulator/${path}`)).body;
const post = (path: string, body: unknown) => crm.send('POST', `/__simulator/${path}`, body);
const truth = async (module: string): Promise<Json[]> =>
  (await crm.get(`/__simulator/truth/${module}`)).bytes.toString().split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as Json);

test('the truth is one plain object a live record, by id', async () => {
  const rows = await truth('Leads');
  expect(rows.map(({ id }) => id as string)).toEqual(crm.crm.firstIds('Leads', 1000));
  for (const row of rows) {
    expect(row['id']).toMatch(/^\d{19}$/);
    expect(row['Modified_Time']).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    expect(row['Owner']).toMatch(/^\d{19}$/);
    expect(row['Languages_Known'] === null || Array.isArray(row['Languages_Known'])).toBe(true);
  }
  expect(Object.keys(rows[0] ?? {}).length).toBeGreaterThanOrEqual(42);
});

test('the truth holds Unicode, quotes and line breaks', async () => {
  const text = JSON.stringify(await truth('Leads'));
  for (const wanted of [/\\n/, /\\r\\n/, /\\"/, /[\u3040-\u9fff]/, /\p{Emoji_Presentation}/u, /\u2028/, /\u2029/, /\u0085/, /\\u000b/, /\\f/, /[^\\]\\r[^\\]/]) expect(text).toMatch(wanted);
});

test('records are created, edited, read and deleted, and the truth follows', async () => {
  const created = await post('records/Products', { Product_Name: 'New', Sold_In: ['Asia', 'Africa'], Handler: null });
  const { id } = created.body;
  expect([created.status, created.body['Sold_In'], created.body['Manufacturer']]).toEqual([201, ['Asia', 'Africa'], null]);
  await clock.advance(60_000);
  const edited = await post(`records/Products/${id}`, { Unit_Price: 12.34 });
  expect(edited.body).toEqual({ ...created.body, Unit_Price: 12.34, Modified_Time: '2026-01-01T00:01:00Z' });
  expect(await get(`records/Products/${id}`)).toEqual(edited.body);
  expect((await crm.send('DELETE', `/__simulator/records/Products/${id}?permanent=true`)).body).toEqual({ id, deleted_time: '2026-01-01T00:01:00Z', type: 'permanent' });
  expect((await truth('Products')).map((row) => row['id'] as string)).not.toContain(id);
  expect(await get('deleted/Products')).toMatchObject([{ id }]);
});

test('a mass edit changes many in one second', async () => {
  const { body } = await post('mass-edit', { module: 'Leads', first: 300, fields: { Rating: 'Active' } });
  expect(body).toEqual({ edited: 300, modifiedTime: '2026-01-01T00:01:00Z' });
  expect((await truth('Leads')).slice(0, 300).every((row) => row['Rating'] === 'Active' && row['Modified_Time'] === body['modifiedTime'])).toBe(true);
});

test('wrong uses are refused with their cause', async () => {
  const [id] = (await get('ids/Leads?first=1')) as unknown as string[];
  const refusals = [
    await post(`records/Leads/${id}`, { Nonsense: 1 }),
    await post(`records/Leads/${id}`, { Full_Name: 'X' }),
    await post(`records/Leads/${id}`, { Lead_Score: 'many' }),
    await post('records/Leads/1', { City: 'Rome' }),
    await post('records/Nothing', {}),
    await post('faults', { drop: 2 }),
  ];
  expect(refusals.map(({ status, body }) => [status, body['code'] as string])).toEqual([
    [400, 'UNKNOWN_FIELD'], [400, 'READ_ONLY_FIELD'], [400, 'WRONG_VALUE'], [404, 'UNKNOWN_RECORD'], [404, 'UNKNOWN_MODULE'], [400, 'WRONG_REQUEST'],
  ]);
});

test('counters show calls, credits and records', async () => {
  const before = await get('counters');
  await crm.get('/crm/v8/Leads/deleted');
  await crm.send('POST', '/crm/bulk/v8/read', { query: { module: { api_name: 'Leads' } } });
  const after = await get('counters');
  expect([after['calls'] - before['calls'], after['credits'] - before['credits']]).toEqual([2, 52]);
  expect(after['records']).toEqual({ Leads: 500, Deals: 10, Products: 10 });
});

test('a driven clock moves by hand', async () => {
  const { nowMs, driven } = await get('clock');
  expect([driven, (await post('clock', { advanceMs: 5000 })).body['nowMs']]).toEqual([true, nowMs + 5000]);
});

test('a channel can be taken away without a notice', async () => {
  await crm.send('POST', '/crm/v8/actions/watch', { watch: [{ channel_id: '77', events: ['Leads.all'], notify_url: 'http://127.0.0.1:9/n' }] });
  const lose = async () => (await crm.send('DELETE', '/__simulator/channels/77')).status;
  expect(await lose()).toBe(200);
  expect((await crm.get('/crm/v8/actions/watch')).status).toBe(204);
  expect(await lose()).toBe(404);
});

test('tokens can be ended', async () => {
  const authorization = `Zoho-oauthtoken ${(await crm.token()).body['access_token']}`;
  await crm.send('DELETE', '/__simulator/tokens');
  expect((await crm.get('/crm/v8/org', { authorization })).status).toBe(401);
});
