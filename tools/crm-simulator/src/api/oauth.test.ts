import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { drivenClock } from '../clock.ts';
import { type CrmUnderTest, startCrm } from '../crm-under-test.ts';

const MINUTE_MS = 60_000;
const clock = drivenClock(Date.UTC(2026, 0, 1));
let crm: CrmUnderTest;

beforeAll(async () => {
  crm = await startCrm({ clock, tokensPerTenMinutes: 10 });
});
afterAll(() => crm.close());

const statusWith = async (token: unknown): Promise<number> => (await crm.get('/crm/v8/org', { authorization: `Zoho-oauthtoken ${String(token)}` })).status;
/** Past every limit and every token of the test before. */
const later = () => clock.advance(61 * MINUTE_MS);

describe('access tokens', () => {
  test('come with their life and the API\'s address', async () => {
    await later();
    expect((await crm.token()).body).toMatchObject({ expires_in: 3600, api_domain: crm.crm.url, token_type: 'Bearer' });
  });

  test('are requested by query, by form, and by multipart form as the vendor\'s SDK does', async () => {
    await later();
    const fields = { grant_type: 'refresh_token', client_id: 'simulator', client_secret: 'simulator', refresh_token: 'simulator' };
    const form = new FormData();
    for (const [name, value] of Object.entries(fields)) form.set(name, value);
    for (const body of [new URLSearchParams(fields), form]) {
      const reply = await fetch(`${crm.crm.url}/oauth/v2/token`, { method: 'POST', body });
      expect(await reply.json()).toHaveProperty('access_token');
    }
  });

  test.each([
    ['invalid_client', { client_id: 'nobody' }],
    ['invalid_client_secret', { client_secret: 'wrong' }],
    ['invalid_code', { refresh_token: 'revoked' }],
  ])('are refused with status 200 and %s in the body', async (error, wrong) => {
    const { status, body } = await crm.token(wrong);
    expect([status, body]).toEqual([200, { error }]);
  });

  test('are ten in ten minutes, and then more', async () => {
    await later();
    for (let i = 0; i < 10; i++) expect((await crm.token()).body).toHaveProperty('access_token');
    expect((await crm.token()).body).toMatchObject({ error: 'Access Denied', status: 'failure' });
    await clock.advance(10 * MINUTE_MS);
    expect((await crm.token()).body).toHaveProperty('access_token');
  });

  test('end after an hour', async () => {
    await later();
    const token = (await crm.token()).body['access_token'];
    await clock.advance(59 * MINUTE_MS);
    expect(await statusWith(token)).toBe(200);
    await clock.advance(MINUTE_MS);
    expect(await statusWith(token)).toBe(401);
  });

  test('are ten at a time: the eleventh ends the oldest', async () => {
    await later();
    const tokens = [];
    for (let i = 0; i < 11; i++) {
      tokens.push((await crm.token()).body['access_token']);
      await clock.advance(2 * MINUTE_MS);
    }
    expect([await statusWith(tokens[0]), await statusWith(tokens[1])]).toEqual([401, 200]);
  });

  test('can be revoked, one or all', async () => {
    await later();
    const [one, other] = [(await crm.token()).body['access_token'], (await crm.token()).body['access_token']];
    expect((await crm.send('POST', `/oauth/v2/token/revoke?token=${one}`)).body).toEqual({ status: 'success' });
    expect([await statusWith(one), await statusWith(other)]).toEqual([401, 200]);
    crm.crm.revokeTokens();
    expect(await statusWith(other)).toBe(401);
  });

  test('are asked of every call: without one AUTHENTICATION_FAILURE, with a wrong one INVALID_TOKEN', async () => {
    expect((await crm.get('/crm/v8/org', { authorization: '' })).body['code']).toBe('AUTHENTICATION_FAILURE');
    expect((await crm.get('/crm/bulk/v8/read/1', { authorization: 'Zoho-oauthtoken wrong' })).body['code']).toBe('INVALID_TOKEN');
  });
});
