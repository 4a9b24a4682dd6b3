import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { drivenClock, type Simulator, startSimulator } from '@lockstep/crm-simulator';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';

import { createCrmClient, type CrmClient } from './client.ts';
import { loadCrmConfig } from './config.ts';
import { CrmError } from './errors.ts';
import { createTokenSource, memoryTokenStore } from './tokens.ts';

const configOf = (url: string, version = 'v8') =>
  loadCrmConfig({ CRM_API_URL: `${url}/`, CRM_ACCOUNTS_URL: url, CRM_CLIENT_ID: 'simulator', CRM_CLIENT_SECRET: 'simulator', CRM_REFRESH_TOKEN: 'simulator', CRM_API_VERSION: version });
const clientOf = (url: string, { version = 'v8', retries = 0 } = {}): CrmClient => createCrmClient({ config: configOf(url, version), tokens: createTokenSource({ config: configOf(url, version), store: memoryTokenStore() }), retries });
const failureOf = (work: Promise<unknown>): Promise<{ code: string; retryable: boolean }> =>
  work.then(
    () => ({ code: 'none', retryable: false }),
    (error: unknown) => ({ code: (error as CrmError).code, retryable: (error as CrmError).retryable }),
  );

describe('against the simulator', () => {
  let simulator: Simulator;
  let crm: CrmClient;
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'lockstep-crm-'));
    simulator = await startSimulator({ records: { Leads: 30, Deals: 5, Products: 5 }, pageSize: 20, jobDelayMs: 0, tokensPerTenMinutes: 0 });
    crm = clientOf(simulator.url);
  });
  afterAll(async () => {
    await crm.close();
    await simulator.close();
    await rm(folder, { recursive: true, force: true });
  });

  const wanted = { channelId: '4711', module: 'Leads', notifyUrl: 'http://127.0.0.1:9/notifications/x', token: 'token' };

  test('a channel is enabled, found again with what was granted, and disabled', async () => {
    const expiresAt = new Date(Date.now() + 6 * 86_400_000);
    const granted = await crm.enableNotifications({ ...wanted, expiresAt });
    expect(Math.abs(granted.expiresAt.getTime() - expiresAt.getTime())).toBeLessThan(2_000);
    expect(await crm.listChannels()).toEqual([{ channelId: '4711', module: 'Leads', notifyUrl: wanted.notifyUrl, expiresAt: granted.expiresAt, token: 'token', events: ['Leads.create', 'Leads.edit', 'Leads.delete'] }]);
    await crm.disableNotifications(['4711']);
    expect(await crm.listChannels()).toEqual([]);
    expect(await failureOf(crm.disableNotifications(['4711']))).toEqual({ code: 'CRM_NOT_SUBSCRIBED', retryable: false });
  });

  test('an expiry that the CRM does not like is read back as what it became', async () => {
    const granted = await crm.enableNotifications({ ...wanted, expiresAt: new Date(Date.now() + 30 * 86_400_000) });
    expect(granted.expiresAt.getTime() - Date.now()).toBeLessThan(3_700_000);
  });

  test.each(['v6', 'v7', 'v8'])('a bulk read goes from its first page to the next on %s', async (version) => {
    const bulk = clientOf(simulator.url, { version });
    const read = async (page: number, pageToken: string | null) => {
      const { jobId } = await bulk.createBulkRead({ module: 'Leads', fields: ['Company', 'Modified_Time'], page, pageToken, callbackUrl: null });
      let status = await bulk.bulkReadStatus(jobId);
      while (status.state === 'running') status = await bulk.bulkReadStatus(jobId);
      return { jobId, status };
    };
    const first = await read(1, null);
    expect(first.status).toMatchObject({ state: 'completed', count: 20, moreRecords: true });
    const token = first.status.state === 'completed' ? (first.status.nextPageToken ?? null) : null;
    expect(token === null).toBe(version === 'v6');
    const second = await read(2, token);
    expect(second.status).toMatchObject({ state: 'completed', count: 10, moreRecords: false });
    const file = join(folder, `${version}.zip`);
    const { lowerMs, upperMs } = await bulk.downloadBulkRead({ jobId: second.jobId, file });
    expect((await stat(file)).size).toBeGreaterThan(100);
    expect(lowerMs).toBeLessThanOrEqual(upperMs);
    await bulk.close();
  });

  test('records between two ids are found in their order, neither end among them, up to any end, and only what changed', async () => {
    const [low = '', second = '', third = '', high = ''] = simulator.firstIds('Leads', 4);
    const { Modified_Time: modifiedTime } = simulator.editRecord('Leads', third, { Company: 'Ada' });
    const between = async (beforeId: string | null, since: Date | null) => (await crm.recordsBetween({ module: 'Leads', fields: ['Company'], afterId: low, beforeId, since })).records;
    expect((await between(high, null)).map(({ id }) => id)).toEqual([second, third]);
    expect(await between(high, new Date(modifiedTime))).toEqual([expect.objectContaining({ id: third, values: { Company: 'Ada' } })]);
    expect((await between(null, null)).length).toBeGreaterThan(20);
    expect(await between(second, null)).toEqual([]);
  });

  test('a look finds what is there, with its values, and leaves out what is not', async () => {
    const [id = ''] = simulator.firstIds('Leads', 1);
    simulator.editRecord('Leads', id, { Annual_Revenue: 50_000.1, Company: 'Ada' });
    const { records, observed } = await crm.lookAt({ module: 'Leads', fields: ['Company', 'Annual_Revenue', 'Owner'], ids: [id, '1'] });
    expect(records.map((record) => [record.id, record.values['Company'], record.values['Annual_Revenue']])).toEqual([[id, 'Ada', 50_000.1]]);
    expect(Date.now()).toBeLessThan(observed.upperMs + 1_500);
    expect(observed.lowerMs).toBeLessThanOrEqual(observed.upperMs);
  });

  test('the deleted list and the count follow a deletion', async () => {
    const before = await crm.countRecords('Products');
    const [id = ''] = simulator.firstIds('Products', 1);
    simulator.deleteRecord('Products', id);
    const began = Date.now();
    const { deletions, observed } = await crm.deletedSince('Products', new Date(began - 60_000));
    expect(deletions.map((deleted) => deleted.id)).toEqual([id]);
    expect(observed.lowerMs).toBeLessThan(began + 1_500);
    expect(observed.lowerMs).toBeLessThanOrEqual(observed.upperMs);
    expect((await crm.deletedSince('Deals', new Date(Date.now() - 60_000))).deletions).toEqual([]);
    expect(await crm.countRecords('Products')).toBe(before - 1);
  });

  test('a token that ended in the middle is replaced, once', async () => {
    await crm.countRecords('Deals');
    simulator.revokeTokens();
    expect(await crm.countRecords('Deals')).toBe(5);
  });

  test('a page token is refused after a day, and a result is gone', async () => {
    const clock = drivenClock(Date.now());
    const old = await startSimulator({ records: { Leads: 30 }, pageSize: 20, jobDelayMs: 0, clock });
    const bulk = clientOf(old.url);
    try {
      const { jobId } = await bulk.createBulkRead({ module: 'Leads', fields: ['Company'], page: 1, pageToken: null, callbackUrl: null });
      let status = await bulk.bulkReadStatus(jobId);
      while (status.state === 'running') status = await bulk.bulkReadStatus(jobId);
      const pageToken = status.state === 'completed' ? (status.nextPageToken ?? '') : '';
      await clock.advance(86_400_000);
      expect(await failureOf(bulk.createBulkRead({ module: 'Leads', fields: [], page: 2, pageToken, callbackUrl: null }))).toEqual({ code: 'CRM_PAGE_TOKEN_EXPIRED', retryable: false });
      expect(await failureOf(bulk.downloadBulkRead({ jobId, file: join(folder, 'gone.zip') }))).toEqual({ code: 'CRM_NOT_FOUND', retryable: false });
    } finally {
      await bulk.close();
      await old.close();
    }
  });

  test('what the CRM refuses carries the CRM\'s own code', async () => {
    await expect(crm.countRecords('Nothing')).rejects.toMatchObject({ code: 'CRM_REFUSED', crmCode: 'INVALID_MODULE' });
    expect(await failureOf(crm.bulkReadStatus('1'))).toEqual({ code: 'CRM_NOT_FOUND', retryable: false });
    expect(await failureOf(crm.downloadBulkRead({ jobId: '1', file: join(folder, 'none.zip') }))).toEqual({ code: 'CRM_NOT_FOUND', retryable: false });
  });
});

describe('against a server that misbehaves', () => {
  let server: Server;
  let url: string;
  let calls: string[] = [];
  let answer: (request: IncomingMessage, reply: ServerResponse, call: number) => void;
  let crm: CrmClient;
  beforeAll(async () => {
    server = createServer((request, reply) => {
      if (request.url?.startsWith('/oauth') === true) calls.push('token');
      else calls.push('call');
      answer(request, reply, calls.filter((one) => one === 'call').length);
    });
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterEach(async () => {
    await crm.close();
    calls = [];
  });
  afterAll(() => void server.close());

  const tokenOr = (other: (reply: ServerResponse, call: number) => void) => (request: IncomingMessage, reply: ServerResponse, call: number): void => {
    if (request.url?.startsWith('/oauth') === true) reply.end(JSON.stringify({ access_token: `token ${calls.length}`, expires_in: 3600 }));
    else other(reply, call);
  };
  const json = (reply: ServerResponse, status: number, body: unknown): void => void reply.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));

  test.each([
    ['an HTML page with 502', (reply: ServerResponse) => void reply.writeHead(502).end('<html>Bad gateway</html>'), 'CRM_UNAVAILABLE', true],
    ['HTML with 200', (reply: ServerResponse) => void reply.end('<html>Maintenance</html>'), 'CRM_UNAVAILABLE', true],
    ['a cut connection', (reply: ServerResponse) => void reply.socket?.destroy(), 'CRM_UNREACHABLE', true],
    ['429', (reply: ServerResponse) => json(reply, 429, { code: 'TOO_MANY_REQUESTS', message: 'too many', status: 'error', details: {} }), 'CRM_RATE_LIMITED', true],
    ['JSON of another form', (reply: ServerResponse) => json(reply, 200, { total: 5 }), 'CRM_REPLY_UNEXPECTED', false],
    ['403', (reply: ServerResponse) => json(reply, 403, { code: 'NO_PERMISSION', message: 'permission denied' }), 'CRM_REFUSED', false],
  ])('%s is reported as what it is', async (_, misbehave, code, retryable) => {
    crm = clientOf(url);
    answer = tokenOr(misbehave);
    expect(await failureOf(crm.countRecords('Leads'))).toEqual({ code, retryable });
  });

  test('what may be better next time is tried again', async () => {
    crm = clientOf(url, { retries: 2 });
    answer = tokenOr((reply, call) => (call < 3 ? json(reply, 500, { code: 'INTERNAL_ERROR' }) : json(reply, 200, { count: 7 })));
    expect(await crm.countRecords('Leads')).toBe(7);
  });

  test('the creation of a job is never repeated by itself', async () => {
    crm = clientOf(url, { retries: 2 });
    answer = tokenOr((reply) => json(reply, 500, { code: 'INTERNAL_ERROR' }));
    await failureOf(crm.createBulkRead({ module: 'Leads', fields: ['Company'], page: 1, pageToken: null, callbackUrl: null }));
    expect(calls.filter((one) => one === 'call')).toHaveLength(1);
  });

  test('a job that failed says why, and any state that is not known is a job that runs', async () => {
    crm = clientOf(url);
    const job = (state: string, result: object) => ({ data: [{ id: '1', operation: 'read', state, result }] });
    const failure = { error_message: { status: 'error', code: 'INTERNAL_SERVER_ERROR', message: 'Internal server error occurred.', details: {} } };
    answer = tokenOr((reply, call) => json(reply, 200, call === 1 ? job('FAILURE', failure) : job('ON HOLD', { page: 1, count: 0 })));
    expect(await crm.bulkReadStatus('1')).toEqual({ state: 'failed', failure: 'Internal server error occurred.' });
    expect(await crm.bulkReadStatus('1')).toEqual({ state: 'running' });
  });

  test('a missing scope is not fixed by a new token', async () => {
    crm = clientOf(url);
    answer = tokenOr((reply) => json(reply, 401, { code: 'OAUTH_SCOPE_MISMATCH', message: 'invalid oauth scope' }));
    expect(await failureOf(crm.countRecords('Leads'))).toEqual({ code: 'CRM_UNAUTHORIZED', retryable: false });
    expect(calls).toEqual(['token', 'call']);
  });

  test('an OAuth error that comes with status 200 is an error, and says what to check', async () => {
    crm = clientOf(url);
    answer = (_, reply) => json(reply, 200, { error: 'invalid_client' });
    await expect(crm.countRecords('Leads')).rejects.toThrow(/CRM_CLIENT_ID, CRM_CLIENT_SECRET, CRM_REFRESH_TOKEN/);
  });

  test('many calls at once ask for one token', async () => {
    crm = clientOf(url);
    answer = tokenOr((reply) => json(reply, 200, { count: 7 }));
    await Promise.all(Array.from({ length: 20 }, () => crm.countRecords('Leads')));
    expect(calls.filter((one) => one === 'token')).toHaveLength(1);
  });
});

test('a configuration that is not complete names each variable and what it is for', () => {
  expect(() => loadCrmConfig({ CRM_DATA_CENTRE: 'mars' })).toThrow(/CRM_DATA_CENTRE[^]*CRM_CLIENT_ID[^]*self client[^]*CRM_REFRESH_TOKEN/);
  expect(configOf('http://127.0.0.1:1').apiUrl).toBe('http://127.0.0.1:1');
});
