import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { drivenClock } from '../clock.ts';
import { type CrmUnderTest, type Json, startCrm } from '../crm-under-test.ts';

const clock = drivenClock(Date.UTC(2026, 0, 1));
let crm: CrmUnderTest;

beforeAll(async () => {
  crm = await startCrm({ clock, records: { Leads: 2500, Deals: 10 } });
});
afterAll(() => crm.close());

const list = async (params: string, headers = {}) => crm.get(`/crm/v8/Leads?${params}`, headers);
const ids = ({ body }: { body: Json }): string[] => body['data'].map(({ id }: Json) => id as string) as string[];
const truth = () => [...crm.crm.truth('Leads')];

describe('a list', () => {
  test('needs fields, at most fifty of them', async () => {
    expect((await list('')).body).toMatchObject({ code: 'REQUIRED_PARAM_MISSING', details: { param_name: 'fields' } });
    expect((await list(`fields=${Array.from({ length: 51 }, (_, i) => `F${i}`).join(',')}`)).body).toMatchObject({ code: 'LIMIT_EXCEEDED', details: { limit: 50 } });
  });

  test('has at most two hundred a page, and two thousand by page number', async () => {
    expect((await list('fields=City&per_page=201')).body['code']).toBe('INVALID_DATA');
    expect((await list('fields=City&page=10')).status).toBe(200);
    expect((await list('fields=City&page=11')).body).toMatchObject({ code: 'DISCRETE_PAGINATION_LIMIT_EXCEEDED', details: { limit: 2000 } });
  });

  test.each([['id', 'desc'], ['id', 'asc'], ['Modified_Time', 'asc'], ['Modified_Time', 'desc'], ['Created_Time', 'asc']])('by %s %s goes to its end by token, each record once', async (by, order) => {
    const base = `fields=${by}&converted=both&sort_by=${by}&sort_order=${order}`;
    let reply = await list(base);
    const rows: Json[] = [...(reply.body['data'] as Json[])];
    while (reply.body['info'].more_records === true) {
      reply = await list(`${base}&page_token=${reply.body['info'].next_page_token}`);
      rows.push(...(reply.body['data'] as Json[]));
    }
    const keys = rows.map((row) => (by === 'id' ? Number(String(row['id']).slice(5)) : Date.parse(row[by] as string)));
    expect([rows.length, new Set(rows.map(({ id }) => id as string)).size]).toEqual([2500, 2500]);
    expect(keys).toEqual(keys.toSorted((a, b) => (order === 'asc' ? a - b : b - a)));
  });

  test('refuses a token with other parameters, beside a page, and after a day', async () => {
    const token = (await list('fields=City')).body['info'].next_page_token as string;
    expect((await list(`fields=City,Company&page_token=${token}`)).body['code']).toBe('TOKEN_BOUND_DATA_MISMATCH');
    expect((await list(`fields=City&page=2&page_token=${token}`)).body['code']).toBe('AMBIGUITY_DURING_PROCESSING');
    await clock.advance(24 * 3_600_000);
    expect((await list(`fields=City&page_token=${token}`)).body['code']).toBe('EXPIRED_VALUE');
  });

  test('hides converted leads unless they are requested', async () => {
    const converted = truth().filter((record) => record['Converted__s'] === true).map(({ id }) => id);
    const wanted = `fields=City&ids=${converted.join(',')}`;
    expect(converted.length).toBeGreaterThan(0);
    expect((await list(wanted)).status).toBe(204);
    expect(ids(await list(`${wanted}&converted=true`)).toSorted()).toEqual(converted);
    expect(ids(await list(`${wanted}&converted=both`)).toSorted()).toEqual(converted);
  });

  test('by ids leaves out what there is not, and is 204 without any', async () => {
    const [first = ''] = truth().filter((record) => record['Converted__s'] === false).map(({ id }) => id);
    expect(ids(await list(`fields=City&ids=1,${first},9999999999999999999`))).toEqual([first]);
    const none = await list('fields=City&ids=1');
    expect([none.status, none.bytes.length]).toEqual([204, 0]);
  });

  test('since a time has what was changed after it, and is 304 without any', async () => {
    const since = { 'if-modified-since': new Date(clock.nowMs()).toISOString() };
    expect((await list('fields=City', since)).status).toBe(304);
    await clock.advance(1000);
    const [id = ''] = crm.crm.firstIds('Leads', 1);
    crm.crm.editRecord('Leads', id, { City: 'Paris' });
    expect(ids(await list('fields=City&converted=both', since))).toEqual([id]);
  });

  test('of an unknown module is refused', async () => {
    expect((await crm.get('/crm/v8/Nothing?fields=id')).body).toMatchObject({ code: 'INVALID_MODULE', details: { resource_path_index: 0 } });
  });
});

describe('one record', () => {
  test('comes with every field, in the forms of JSON', async () => {
    const record = truth().find((one) => one['Referred_By'] !== null && one['Tag'] !== null && one['Languages_Known'] !== null);
    const [read] = (await crm.get(`/crm/v8/Leads/${record?.id}`)).body['data'];
    expect(read).toMatchObject({ id: record?.id, Owner: { id: record?.['Owner'] }, Referred_By: { id: record?.['Referred_By'] }, Languages_Known: record?.['Languages_Known'] });
    expect(Object.keys(read.Owner).toSorted()).toEqual(['email', 'id', 'name']);
    expect(read.Tag.map(({ name }: Json) => name as string)).toEqual(record?.['Tag']);
    expect(read.Modified_Time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+05:30$/);
    expect(read).toHaveProperty('Interests');
  });

  test('that is not there is 204', async () => {
    expect((await crm.get('/crm/v8/Leads/1')).status).toBe(204);
  });
});

describe('writing', () => {
  test('an edit moves Modified_Time to now, and shows at once everywhere', async () => {
    await clock.advance(5000);
    const [id = ''] = crm.crm.firstIds('Leads', 1);
    const { status, body } = await crm.send('PUT', '/crm/v8/Leads', { data: [{ id, Company: 'Ada & "Sons"' }] });
    expect([status, Date.parse(body['data'][0].details.Modified_Time as string)]).toEqual([200, clock.nowMs()]);
    expect((await crm.get(`/crm/v8/Leads/${id}`)).body['data'][0].Company).toBe('Ada & "Sons"');
    expect(crm.crm.record('Leads', id)['Company']).toBe('Ada & "Sons"');
  });

  test('answers row by row: 201, 207, 400', async () => {
    const post = (...data: Json[]) => crm.send('POST', '/crm/v8/Deals', { data });
    const [good, bad] = [{ Deal_Name: 'New', Stage: 'Qualification' }, { Stage: 'Qualification' }];
    expect((await post(good)).body['data'][0]).toMatchObject({ code: 'SUCCESS', message: 'record added', details: { Created_By: { name: 'Integration User' } } });
    const mixed = await post(good, bad);
    expect([mixed.status, mixed.body['data'].map(({ code }: Json) => code as string)]).toEqual([207, ['SUCCESS', 'MANDATORY_NOT_FOUND']]);
    expect((await post(bad)).status).toBe(400);
    expect((await post(...Array.from({ length: 101 }, () => good))).status).toBe(400);
  });

  test('of a value the field cannot hold is refused', async () => {
    const [id = ''] = crm.crm.firstIds('Leads', 1);
    for (const wrong of [{ Lead_Score: 'many' }, { Date_of_Birth: '2026-02-30' }, { Full_Name: 'X' }, { Nonsense: 1 }]) {
      expect((await crm.send('PUT', `/crm/v8/Leads/${id}`, { data: [wrong] })).body['data'][0].code).toBe('INVALID_DATA');
    }
  });

  test('is refused with 412 where the record has changed since', async () => {
    const [id = ''] = crm.crm.firstIds('Leads', 1);
    crm.crm.editRecord('Leads', id, { City: 'Rome' });
    const { body } = await crm.send('PUT', `/crm/v8/Leads/${id}`, { data: [{ City: 'Oslo' }] }, { 'if-modified-since': new Date(clock.nowMs() - 1000).toISOString() });
    expect(body['data'][0].code).toBe('RECORD_MODIFIED');
  });

  test('shows in the count', async () => {
    const count = async () => (await crm.get('/crm/v8/Deals/actions/count')).body['count'] as number;
    const before = await count();
    const { id } = crm.crm.createRecord('Deals', { Deal_Name: 'New' });
    const after = await count();
    await crm.send('DELETE', `/crm/v8/Deals/${id}`);
    expect([after, await count()]).toEqual([before + 1, before]);
  });
});
