import { readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { drivenClock } from '../clock.ts';
import { bulkJob, type CrmUnderTest, type Json, parsedCsv, startCrm, startReceiver, unzipped } from '../crm-under-test.ts';

const leads = { module: { api_name: 'Leads' }, fields: ['Last_Name', 'Modified_Time'] };
let crm: CrmUnderTest;

beforeAll(async () => {
  crm = await startCrm({ records: { Leads: 450, Deals: 5 }, pageSize: 200 });
});
afterAll(() => crm.close());

const resultPath = (job: Json, version = 'v8'): string => `/crm/bulk/${version}/read/${job['id']}/result`;
const idsOf = async (job: Json, version = 'v8'): Promise<string[]> => {
  const [header = [], ...rows] = parsedCsv(unzipped((await crm.get(resultPath(job, version))).bytes).text);
  return rows.map((row) => row[header.indexOf('Id')] ?? '');
};
const refused = async (query: unknown, more: Json = {}, version = 'v8'): Promise<unknown> => (await crm.send('POST', `/crm/bulk/${version}/read`, { query, ...more })).body['code'];
const leadsWhere = async (criteria: unknown): Promise<string[]> => idsOf(await bulkJob(crm, { ...leads, criteria }));

describe('pages', () => {
  test.each(['v7', 'v8'])('of %s follow one another by token, in the order of ids', async (version) => {
    const found: string[] = [];
    const pages: unknown[] = [];
    for (let query: unknown = leads; query !== undefined;) {
      const job = await bulkJob(crm, query, version);
      found.push(...(await idsOf(job, version)));
      pages.push([job['result'].page, job['result'].count, job['result'].more_records]);
      query = job['result'].next_page_token === undefined ? undefined : { page_token: job['result'].next_page_token };
    }
    expect(found).toEqual(crm.crm.firstIds('Leads', 1000));
    expect(pages).toEqual([[1, 200, true], [2, 200, true], [3, 50, false]]);
  });

  test('of v6 follow one another by number, and there is no token', async () => {
    const jobs = await Promise.all([1, 2, 3].map((page) => bulkJob(crm, { ...leads, page }, 'v6')));
    expect((await Promise.all(jobs.map((job) => idsOf(job, 'v6')))).flat()).toEqual(crm.crm.firstIds('Leads', 1000));
    expect(jobs[0]?.['result']).not.toHaveProperty('next_page_token');
    expect(await refused({ page_token: 'x' }, {}, 'v6')).toBe('NOT_SUPPORTED_FEATURE');
  });

  test('take a record that is created meanwhile, and leave out one that is deleted', async () => {
    const { result } = await bulkJob(crm, { module: { api_name: 'Deals' } });
    const created = crm.crm.createRecord('Deals', { Deal_Name: 'New' }).id;
    crm.crm.deleteRecord('Deals', crm.crm.firstIds('Deals', 1)[0] ?? '');
    const ids = await idsOf(await bulkJob(crm, { module: { api_name: 'Deals' } }));
    expect([result.count, ids.length, ids.at(-1)]).toEqual([5, 5, created]);
  });
});

describe('criteria', () => {
  test('on Modified_Time take a window with both ends as they are said', async () => {
    const truth = [...crm.crm.truth('Leads')].toSorted((a, b) => (a.Modified_Time < b.Modified_Time ? -1 : 1));
    const [from, to] = [truth[100]?.Modified_Time ?? '', truth[200]?.Modified_Time ?? ''];
    const part = (comparator: string, value: unknown) => ({ field: { api_name: 'Modified_Time' }, comparator, value });
    const expected = truth.filter(({ Modified_Time: time }) => time >= from && time < to).map(({ id }) => id);
    expect(await leadsWhere({ group_operator: 'and', group: [part('greater_equal', from), part('less_than', to)] })).toEqual(expected.toSorted());
    expect((await leadsWhere(part('between', [from, to]))).length).toBeGreaterThan(expected.length);
  });

  test('hold for texts, numbers and empty values', async () => {
    const matching = (keep: (record: Json) => boolean) => [...crm.crm.truth('Leads')].filter(keep).map(({ id }) => id);
    const where = (name: string, comparator: string, value: unknown) => leadsWhere({ field: { api_name: name }, comparator, value });
    expect(await where('Company', 'contains', 'best')).toEqual(matching(({ Company }) => /best/i.test(Company as string)));
    expect(await where('Lead_Score', 'greater_than', 50)).toEqual(matching(({ Lead_Score: score }) => (score as number) > 50));
    expect(await where('City', 'equal', '${EMPTY}')).toEqual(matching(({ City }) => City === null));
    expect(await where('Lead_Source', 'in', ['Chat', 'Partner'])).toEqual(matching(({ Lead_Source: source }) => source === 'Chat' || source === 'Partner'));
  });

  test.each([
    ['milliseconds', { field: { api_name: 'Modified_Time' }, comparator: 'equal', value: '2026-01-01T00:00:00.123Z' }, 'VALUE_IN_CRITERIA_NOT_SUPPORTED'],
    ['an unknown field', { field: { api_name: 'Nonsense' }, comparator: 'equal', value: 'x' }, 'FIELD_IN_CRITERIA_NOT_AVAILABLE'],
    ['a comparator of another type', { field: { api_name: 'Lead_Score' }, comparator: 'contains', value: '1' }, 'FIELD_COMPARATOR_IN_CRITERIA_NOT_SUPPORTED'],
    ['an unknown operator', { group_operator: 'xor', group: [] }, 'GROUP_OPERATOR_NOT_SUPPORTED'],
  ])('with %s are refused', async (_, criteria, code) => {
    expect(await refused({ ...leads, criteria })).toBe(code);
  });
});

describe('requests', () => {
  test('for unknown modules, fields and tokens are refused', async () => {
    expect(await refused({ module: { api_name: 'Notes' } })).toBe('MODULE_NOT_AVAILABLE');
    expect(await refused({ ...leads, fields: ['Nonsense'] })).toBe('FIELD_NOT_AVAILABLE');
    expect(await refused({ ...leads, fields: ['Interests'] })).toBe('FIELD_NOT_SUPPORTED');
    expect(await refused({ page_token: 'unknown' })).toBe('INVALID_DATA');
    expect(await refused(leads, { callback: { url: 'http://127.0.0.1:9/', method: 'get' } })).toBe('INVALID_CALLBACK_METHOD');
  });

  test('for more than two hundred fields get them all, silently', async () => {
    const job = await bulkJob(crm, { module: { api_name: 'Deals' }, fields: Array.from({ length: 201 }, () => 'Deal_Name') });
    const [header = []] = parsedCsv(unzipped((await crm.get(resultPath(job))).bytes).text);
    expect(header).toContain('Stage');
    expect(new Set(header).size).toBe(header.length);
  });
});

describe('a job', () => {
  test('goes from state to state by time, has a result only when completed, and is reported to its callback', async () => {
    const clock = drivenClock(Date.UTC(2026, 0, 1));
    const [slow, receiver] = await Promise.all([startCrm({ clock, records: { Leads: 3 }, jobDelayMs: 10_000 }), startReceiver()]);
    const created = await slow.send('POST', '/crm/bulk/v8/read', { query: leads, callback: { url: receiver.url, method: 'post' } });
    const { id } = created.body['data'][0].details;
    const look = async (): Promise<Json> => (await slow.get(`/crm/bulk/v8/read/${id}`)).body['data'][0] as Json;
    const seen: unknown[] = [];
    for (let waits = 0; waits < 3; waits++) {
      const job = await look();
      const download = (await slow.get(`/crm/bulk/v8/read/${id}/result`)).status;
      seen.push([job['state'], 'result' in job, download]);
      await clock.advance(2500);
    }
    expect(seen).toEqual([['ADDED', false, 404], ['QUEUED', false, 404], ['IN PROGRESS', false, 404]]);
    await clock.advance(2500);
    while ((await look())['state'] !== 'COMPLETED'); // the file is written in real time
    expect((await slow.get(`/crm/bulk/v8/read/${id}/result`)).status).toBe(200);
    await slow.crm.notificationsSettled();
    expect(receiver.received).toEqual([{ data: [await look()] }]);
    await Promise.all([slow.close(), receiver.close()]);
  });

  test('and its page token live for a day', async () => {
    const clock = drivenClock(Date.UTC(2026, 0, 1));
    const old = await startCrm({ clock, records: { Leads: 3 }, pageSize: 1 });
    const job = await bulkJob(old, leads);
    await clock.advance(24 * 3_600_000);
    const next = await old.send('POST', '/crm/bulk/v8/read', { query: { page_token: job['result'].next_page_token } });
    expect((await old.get(resultPath(job))).body['code']).toBe('RESOURCE_NOT_FOUND');
    expect(next.body['code']).toBe('EXPIRED_VALUE');
    await old.close();
  });

  test('that was never created is not found', async () => {
    expect((await crm.get('/crm/bulk/v8/read/1')).body['code']).toBe('RESOURCE_NOT_FOUND');
    expect((await crm.get('/crm/bulk/v8/read/1/result')).status).toBe(404);
  });
});

describe('downloads', () => {
  test('are ten a minute; one more, and all fail until it is over', async () => {
    const clock = drivenClock(Date.UTC(2026, 0, 1));
    const strict = await startCrm({ clock, records: { Leads: 1 }, downloadsPerMinute: 10 });
    const job = await bulkJob(strict, leads);
    const download = async () => (await strict.get(resultPath(job))).status;
    const statuses: number[] = [];
    for (let i = 0; i < 11; i++) statuses.push(await download());
    await clock.advance(59_000);
    statuses.push(await download());
    await clock.advance(1000);
    statuses.push(await download());
    expect(statuses).toEqual([...Array.from({ length: 10 }, () => 200), 429, 429, 200]);
    await strict.close();
  });

  test('come from files that are gone once the simulator has closed', async () => {
    const spoolDir = await mkdtemp(join(tmpdir(), 'spool-test-'));
    const spooling = await startCrm({ spoolDir });
    await bulkJob(spooling, leads);
    expect(readdirSync(spoolDir)).toHaveLength(1);
    await spooling.close();
    expect(readdirSync(spoolDir)).toEqual([]);
    await rm(spoolDir, { recursive: true });
  });
});
