import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { createCrmClient, type CrmClient } from './client.ts';
import { loadCrmConfig } from './config.ts';
import { crmStub, type CrmStub } from './testing.ts';
import { createTokenSource, memoryTokenStore } from './tokens.ts';

let stub: CrmStub;
let byToken: CrmClient;
let byPage: CrmClient;
let answer: unknown;

const client = (version: string): CrmClient => {
  const config = loadCrmConfig({ CRM_API_VERSION: version, CRM_API_URL: stub.url, CRM_ACCOUNTS_URL: stub.url, CRM_CLIENT_ID: 'c', CRM_CLIENT_SECRET: 's', CRM_REFRESH_TOKEN: 'r' });
  return createCrmClient({ config, tokens: createTokenSource({ config, store: memoryTokenStore() }), retries: 0 });
};

beforeAll(async () => {
  stub = await crmStub(() => answer);
  [byToken, byPage] = [client('v8'), client('v6')];
});
afterAll(async () => {
  await Promise.all([byToken.close(), byPage.close()]);
  await stub.close();
});
beforeEach(() => {
  answer = null;
});

const completed = (result: unknown): unknown => ({ data: [{ id: '42', operation: 'read', state: 'COMPLETED', result }] });

describe('a job that has completed', () => {
  test('says how many rows it has, whether more follow, and how they are named', async () => {
    answer = completed({ page: 1, per_page: 200_000, count: 3, more_records: true, next_page_token: 'next' });
    expect(await byToken.bulkReadStatus('42')).toEqual({ state: 'completed', count: 3, moreRecords: true, nextPageToken: 'next' });
    answer = completed({ count: 3, more_records: true });
    expect(await byPage.bulkReadStatus('42')).toEqual({ state: 'completed', count: 3, moreRecords: true });
    answer = completed({ count: 0, more_records: false, next_page_token: null });
    expect(await byToken.bulkReadStatus('42')).toEqual({ state: 'completed', count: 0, moreRecords: false });
  });

  test.each([
    ['no result', undefined],
    ['an empty result', null],
    ['no count', { more_records: false }],
    ['a count of null', { count: null, more_records: false }],
    ['no more_records', { count: 3 }],
    ['more_records as a text', { count: 3, more_records: 'false' }],
    ['a negative count', { count: -1, more_records: false }],
    ['a broken count', { count: 1.5, more_records: false }],
    ['more rows than a page holds', { count: 201, per_page: 200, more_records: false }],
    ['an empty page that is not the last', { count: 0, more_records: true, next_page_token: 'next' }],
    ['more records, and no token for them', { count: 3, more_records: true }],
    ['more records, and an empty token', { count: 3, more_records: true, next_page_token: '' }],
  ])('is not believed with %s', async (_, result) => {
    answer = completed(result);
    await expect(byToken.bulkReadStatus('42')).rejects.toMatchObject({ code: 'CRM_REPLY_UNEXPECTED' });
  });

  test('is not one before: whatever its result holds then is not read', async () => {
    answer = { data: [{ state: 'IN PROGRESS', result: { count: 'soon' } }] };
    expect(await byToken.bulkReadStatus('42')).toEqual({ state: 'running' });
  });
});

test('a job\'s id that has lost digits is refused', async () => {
  answer = Buffer.from('{"data":[{"details":{"id":5725767000000859031,"created_time":"2026-05-04T10:00:00+05:30"}}]}');
  await expect(byToken.createBulkRead({ module: 'Leads', fields: [], page: 1, pageToken: null, callbackUrl: null })).rejects.toMatchObject({ code: 'CRM_REPLY_UNEXPECTED' });
});
