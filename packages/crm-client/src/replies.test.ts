import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { createCrmClient, type CrmClient } from './client.ts';
import { loadCrmConfig } from './config.ts';
import { crmStub, type CrmStub } from './testing.ts';
import { createTokenSource, memoryTokenStore } from './tokens.ts';

let stub: CrmStub;
let crm: CrmClient;
let answer: unknown;
let paths: string[];

beforeAll(async () => {
  stub = await crmStub(({ path }) => {
    paths.push(path);
    return answer;
  });
  const config = loadCrmConfig({ CRM_API_URL: stub.url, CRM_ACCOUNTS_URL: stub.url, CRM_CLIENT_ID: 'c', CRM_CLIENT_SECRET: 's', CRM_REFRESH_TOKEN: 'r' });
  crm = createCrmClient({ config, tokens: createTokenSource({ config, store: memoryTokenStore() }), retries: 0 });
});
afterAll(async () => {
  await crm.close();
  await stub.close();
});
beforeEach(() => {
  paths = [];
});

test('a count of records that is no number is refused, not 0', async () => {
  for (const count of [null, true, '', ' 7', 'many', -1]) {
    answer = { count };
    await expect(crm.countRecords('Leads')).rejects.toMatchObject({ code: 'CRM_REPLY_UNEXPECTED' });
  }
  answer = { count: '7' };
  expect(await crm.countRecords('Leads')).toBe(7);
});

test('a reply in another encoding is refused: no character of it is replaced', async () => {
  answer = Buffer.from('{"data":[{"id":"1","Modified_Time":"2026-05-04T10:00:00Z","Last_Name":"Zoë"}]}', 'latin1');
  await expect(crm.lookAt({ module: 'Leads', fields: ['Last_Name'], ids: ['1'] })).rejects.toMatchObject({ code: 'CRM_UNAVAILABLE' });
});

describe('the fields of a module', () => {
  test('are read with what their values depend on', async () => {
    answer = {
      fields: [
        { api_name: 'Sold_In', data_type: 'multiselectpicklist', textarea: null, pick_list_values: [{ display_value: 'Shown', actual_value: 'Stored', type: 'used' }, { display_value: 'Old', actual_value: null }] },
        { api_name: 'Notes', data_type: 'textarea', textarea: { type: 'rich_text' } },
      ],
    };
    expect(await crm.fieldsOf('Products')).toEqual([
      { apiName: 'Sold_In', dataType: 'multiselectpicklist', textarea: null, values: ['Stored', 'Shown', 'Old'] },
      { apiName: 'Notes', dataType: 'textarea', textarea: 'rich_text', values: [] },
    ]);
    expect(paths).toEqual(['/crm/v8/settings/fields?module=Products']);
    answer = null;
    expect(await crm.fieldsOf('Products')).toEqual([]);
  });
});

describe('rich text', () => {
  test('is read in full, eight fields a call', async () => {
    answer = { data: [{ id: '1', A: 'a' }, { id: '2', A: 'b' }] };
    expect(await crm.fullTexts({ module: 'Deals', ids: ['1', '2'], fields: 'ABCDEFGHI'.split('') })).toEqual([{ id: '1', values: { A: 'a' } }, { id: '2', values: { A: 'b' } }]);
    expect(paths).toEqual(['/crm/v8/Deals/actions/fetch_full_data?fields=A%2CB%2CC%2CD%2CE%2CF%2CG%2CH&ids=1%2C2', '/crm/v8/Deals/actions/fetch_full_data?fields=I&ids=1%2C2']);
  });
});
