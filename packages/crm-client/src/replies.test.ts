import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { createCrmClient, type CrmClient } from './client.ts';
import { loadCrmConfig } from './config.ts';
import { crmStub, type CrmStub } from './testing.ts';
import { createTokenSource, memoryTokenStore } from './tokens.ts';

let stub: CrmStub;
let crm: CrmClient;
let answer: unknown;
let paths: string[];
let refusal: Error | undefined;

beforeAll(async () => {
  stub = await crmStub(({ path }) => {
    paths.push(path);
    if (refusal !== undefined) throw refusal;
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
  [paths, refusal] = [[], undefined];
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

describe('one row that cannot be read', () => {
  const good = { id: '1', Modified_Time: '2026-05-04T10:00:00+05:30', Company: 'A' };
  const found = [{ id: '1', modifiedTime: '2026-05-04T10:00:00+05:30', values: { Company: 'A' } }];

  test.each<[string, unknown, Record<string, unknown>]>([
    ['without a time', { id: '2', Modified_Time: null, Company: 'B' }, { id: '2', code: 'MODIFIED_TIME_MALFORMED' }],
    ...['yesterday', '2026-05-04', '2026-05-04T10:00:00', '2026-02-30T10:00:00Z', '2026-05-04T24:00:00Z', '+012026-05-04T10:00:00Z', '9999-12-31T23:59:59-08:00'].map(
      (time) => [`with a time that is none (${time})`, { id: '2', Modified_Time: time }, { id: '2', code: 'MODIFIED_TIME_MALFORMED' }] satisfies [string, unknown, Record<string, unknown>],
    ),
    ...['', 'x', '-2', '02', '1e3', '9223372036854775808', 2].map((id) => [`with an id that is none (${id})`, { id, Modified_Time: '2026-05-04T10:00:00Z' }, { id: null, code: 'RECORD_ID_MALFORMED' }] satisfies [string, unknown, Record<string, unknown>]),
    ['without an id', { Modified_Time: '2026-05-04T10:00:00Z' }, { id: null, code: 'RECORD_ID_MALFORMED' }],
    ['that is no record at all', null, { id: null, code: 'RECORD_ID_MALFORMED' }],
  ])('%s is refused by itself, and the others are taken', async (_, row, refused) => {
    answer = { data: [row, good], info: { more_records: false } };
    expect(await crm.lookAt({ module: 'Leads', fields: ['Company'], ids: ['1', '2'] })).toMatchObject({ records: found, refused: [refused] });
    expect(await crm.changedSince({ module: 'Leads', fields: ['Company'], since: new Date(0), after: null })).toMatchObject({ records: found, refused: [refused] });
  });

  test('ends no page: the next one is named by a row before it', async () => {
    for (const row of [{ id: 'x', Modified_Time: '2026-05-04T11:00:00Z' }, { id: '2', Modified_Time: '2026-05-04T11:00:00' }]) {
      answer = { data: [good, row], info: { more_records: true } };
      expect((await crm.changedSince({ module: 'Leads', fields: ['Company'], since: new Date(0), after: null })).records.at(-1)).toMatchObject({ id: '1' });
    }
  });

  test('of the deleted list is handed on empty, with the others', async () => {
    answer = { data: [{ id: '2', deleted_time: null }, 7, { id: '1', deleted_time: '2026-05-04T10:00:00Z' }], info: { more_records: false } };
    expect((await crm.deletedSince('Leads', new Date(0))).deletions).toEqual([{ id: '2', deletedTime: '' }, { id: '', deletedTime: '' }, { id: '1', deletedTime: '2026-05-04T10:00:00Z' }]);
  });

  test.each(['room 2099', '2099', '2099-01-01', '2099-01-01T00:00:00', 'Thu, 01 Jan 2099 00:00:00 GMT'])('of the deleted list is handed on as it stands where its time is none and seems to be to come: %s', async (time) => {
    answer = { data: [{ id: '1', deleted_time: time }, { id: '2', deleted_time: '2099-01-01T00:00:00Z' }], info: { more_records: false } };
    expect((await crm.deletedSince('Leads', new Date(0))).deletions).toEqual([{ id: '1', deletedTime: time }, { id: '2', deletedTime: expect.stringMatching(/^20[2-8]/) as string, isBounded: true }]);
  });

  test('in an envelope of another form changes nothing: that is refused whole', async () => {
    for (const envelope of [{ rows: [good] }, { data: { 0: good } }, { data: [good] }]) {
      answer = envelope;
      await expect(crm.changedSince({ module: 'Leads', fields: ['Company'], since: new Date(0), after: null })).rejects.toMatchObject({ code: 'CRM_REPLY_UNEXPECTED' });
    }
  });
});

describe('a chain of pages', () => {
  const since = new Date(0);
  const record = (id: string, second = 0) => ({ id, Modified_Time: `2026-05-04T10:00:0${second}Z` });

  test.each([
    ['ends where the page before ended', [record('5')]],
    ['ends before it', [record('4')]],
    ['ends in an earlier second', [record('6', 0), record('9', 0)].map((row) => ({ ...row, Modified_Time: '2026-05-04T09:00:00Z' }))],
    ['has no row that can be read', [{ id: '6', Modified_Time: null }]],
    ['is empty', []],
  ])('that says more records follow and %s is refused: it would never end', async (_, data) => {
    answer = { data, info: { more_records: true } };
    await expect(crm.changedSince({ module: 'Leads', fields: [], since, after: { modifiedTime: '2026-05-04T10:00:00Z', id: '5' } })).rejects.toMatchObject({ code: 'CRM_REPLY_UNEXPECTED' });
    if (data.some(({ id }) => id === '9')) return;
    await expect(crm.recordsBetween({ module: 'Leads', fields: [], afterId: '5', beforeId: null, since: null, ...(data[0]?.id === '6' ? { afterId: '6' } : {}) })).rejects.toMatchObject({ code: 'CRM_REPLY_UNEXPECTED' });
  });

  test('goes on within a second by id, and to a later second with any id', async () => {
    const after = { modifiedTime: '2026-05-04T10:00:01Z', id: '5' };
    for (const last of [record('6', 1), record('2', 2)]) {
      answer = { data: [last], info: { more_records: true } };
      expect((await crm.changedSince({ module: 'Leads', fields: [], since, after })).hasMore).toBe(true);
    }
  });

  test('of the deleted list that repeats a page, or is empty and goes on, ends with an error after two calls', async () => {
    for (const data of [[{ id: '1', deleted_time: '2026-05-04T10:00:00Z' }], []]) {
      paths = [];
      answer = { data, info: { more_records: true } };
      await expect(crm.deletedSince('Leads', since)).rejects.toMatchObject({ code: 'CRM_REPLY_UNEXPECTED', message: expect.stringContaining('does not advance') as string });
      expect(paths.length).toBeLessThanOrEqual(2);
    }
  });
});

describe('what a refusal says', () => {
  test('is kept: the field is named in the error and in its message', async () => {
    refusal = Object.assign(new Error('column given seems to be invalid'), { code: 'INVALID_QUERY', details: { column_name: 'Company', clause: 'select', nested: { x: 1 } } });
    await expect(crm.lookAt({ module: 'Leads', fields: ['Company'], ids: ['1'] })).rejects.toMatchObject({
      code: 'CRM_REFUSED',
      crmCode: 'INVALID_QUERY',
      details: { column_name: 'Company', clause: 'select' },
      message: expect.stringContaining('"column_name":"Company"') as string,
    });
  });
});
