import { afterAll, beforeAll, expect, test } from 'vitest';

import { bulkJob, type CrmUnderTest, parsedCsv, startCrm, unzipped } from '../crm-under-test.ts';

let crm: CrmUnderTest;
let id: string;
const text = 'é'.repeat(3_000);

beforeAll(async () => {
  crm = await startCrm({ records: { Deals: 3 } });
  [id = ''] = crm.crm.firstIds('Deals', 1);
  crm.crm.editRecord('Deals', id, { Description: text });
});
afterAll(() => crm.close());

const described = async (path: string): Promise<string> => (await crm.get(path)).body['data'][0].Description as string;

test('a rich text is cut to 500 characters in lists, records and queries, and whole in a bulk result', async () => {
  expect(await described(`/crm/v8/Deals?ids=${id}&fields=Description`)).toBe(text.slice(0, 500));
  expect(await described(`/crm/v8/Deals/${id}?fields=Description`)).toBe(text.slice(0, 500));
  const { body } = await crm.send('POST', '/crm/v8/coql', { select_query: `select Description from Deals where id = '${id}'` });
  expect(body['data'][0].Description).toBe(text.slice(0, 500));
  const job = await bulkJob(crm, { module: { api_name: 'Deals' }, fields: ['Description'] });
  const [header = [], ...rows] = parsedCsv(unzipped((await crm.get(`/crm/bulk/v8/read/${job['id']}/result`)).bytes).text);
  expect(rows.find((row) => row[header.indexOf('Id')] === id)?.[header.indexOf('Description')]).toBe(text);
});

test('its own call shows it in full, of many records from v7 on, and nothing but rich text', async () => {
  for (const path of [`/crm/v8/Deals/actions/fetch_full_data?ids=${id}&fields=Description`, `/crm/v6/Deals/${id}/actions/fetch_full_data`]) expect(await described(path)).toBe(text);
  expect((await crm.get(`/crm/v6/Deals/actions/fetch_full_data?ids=${id}&fields=Description`)).status).toBe(404);
  expect((await crm.get(`/crm/v8/Deals/actions/fetch_full_data?ids=${id}&fields=Deal_Name`)).body['code']).toBe('INVALID_DATA');
  expect((await crm.get(`/crm/v8/Deals/actions/fetch_full_data?ids=${id}`)).body['code']).toBe('REQUIRED_PARAM_MISSING');
  expect((await crm.get('/crm/v8/Deals/actions/fetch_full_data?ids=1&fields=Description')).status).toBe(204);
});

test('metadata says which fields are of that kind', async () => {
  const { fields } = (await crm.get('/crm/v8/settings/fields?module=Deals')).body as { fields: { api_name: string; textarea: unknown }[] };
  expect(fields.find(({ api_name: name }) => name === 'Description')?.textarea).toEqual({ type: 'rich_text' });
  expect(fields.find(({ api_name: name }) => name === 'Deal_Name')?.textarea).toBeNull();
});
