import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { type Simulator, type SimulatorOptions, startSimulator } from '@lockstep/crm-simulator';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { createCrmClient, type CrmClient, type CrmClientOptions } from './client.ts';
import { loadCrmConfig } from './config.ts';
import { CreditMeter } from './credit-meter.ts';
import { handTime } from './testing.ts';
import { createTokenSource, memoryTokenStore } from './tokens.ts';
import type { CallReport } from './transport.ts';
import { apiVersions } from './versions.ts';

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

function clientOf(url: string, { env = {}, ...options }: Partial<CrmClientOptions> & { env?: NodeJS.ProcessEnv } = {}): CrmClient {
  const config = loadCrmConfig({ CRM_API_URL: url, CRM_ACCOUNTS_URL: url, CRM_CLIENT_ID: 'simulator', CRM_CLIENT_SECRET: 'simulator', CRM_REFRESH_TOKEN: 'simulator', ...env });
  const crm = createCrmClient({ config, tokens: createTokenSource({ config, store: memoryTokenStore() }), retries: 0, ...options });
  closers.push(() => crm.close());
  return crm;
}

async function simulatorOf(options: Partial<SimulatorOptions> = {}): Promise<Simulator> {
  const simulator = await startSimulator({ records: { Leads: 30, Deals: 5 }, pageSize: 20, jobDelayMs: 0, ...options });
  closers.push(() => simulator.close());
  return simulator;
}

async function bulkRead(crm: CrmClient, page = 1, pageToken: string | null = null): Promise<{ jobId: string; nextPageToken: string | null }> {
  const { jobId } = await crm.createBulkRead({ module: 'Leads', fields: ['Company', 'Modified_Time'], page, pageToken, callbackUrl: null });
  for (;;) {
    const status = await crm.bulkReadStatus(jobId);
    if (status.state === 'completed') return { jobId, nextPageToken: status.nextPageToken ?? null };
  }
}

describe('calls in flight', () => {
  test('are at most five of a process, and all are answered', async () => {
    const simulator = await simulatorOf({ callsInFlight: 5 });
    const crm = clientOf(simulator.url);
    simulator.setFaults({ slow: 1, slowMs: 20 });
    expect(await Promise.all(Array.from({ length: 30 }, () => crm.countRecords('Deals')))).toEqual(Array.from({ length: 30 }, () => 5));
    expect(simulator.counters()).toMatchObject({ peak: { calls: 5 }, refused: { calls: 0 } });
  });

  test('are fewer of the queries where that is said, and other calls do not wait for them', async () => {
    const simulator = await simulatorOf({ callsInFlight: 5, queriesInFlight: 2 });
    const crm = clientOf(simulator.url, { env: { CRM_MAX_QUERIES_IN_FLIGHT: '2' } });
    simulator.setFaults({ slow: 1, slowMs: 20 });
    const ids = simulator.firstIds('Leads', 3);
    const looks = Array.from({ length: 10 }, () => crm.lookAt({ module: 'Leads', fields: ['Company'], ids }));
    const counts = Array.from({ length: 10 }, () => crm.countRecords('Deals'));
    await Promise.all([...looks, ...counts]);
    expect(simulator.counters()).toMatchObject({ peak: { calls: 5, queries: 2 }, refused: { calls: 0, queries: 0 } });
  });

  test('that wait are given up with their signal', async () => {
    const simulator = await simulatorOf();
    const crm = clientOf(simulator.url, { env: { CRM_MAX_IN_FLIGHT: '1' } });
    simulator.setFaults({ slow: 1, slowMs: 100 });
    const stopping = new AbortController();
    const first = crm.countRecords('Deals');
    const waiting = crm.lookAt({ module: 'Leads', fields: ['Company'], ids: ['1'], signal: stopping.signal });
    stopping.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'CRM_UNREACHABLE' });
    expect(await first).toBe(5);
    expect(simulator.counters().byKind['coql']).toBeUndefined();
  });
});

describe('after a 429', () => {
  let server: Server;
  let url: string;
  let calls = 0;
  let answer: (reply: ServerResponse, call: number) => void;
  beforeEach(async () => {
    calls = 0;
    server = createServer((request, reply) => {
      if (request.url?.startsWith('/oauth') === true) return void reply.end(JSON.stringify({ access_token: 'token', expires_in: 3600 }));
      calls += 1;
      answer(reply, calls);
    });
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    closers.push(async () => void server.close());
  });
  const tooMany = (reply: ServerResponse): void => void reply.writeHead(429).end(JSON.stringify({ code: 'TOO_MANY_REQUESTS', message: 'too many', details: {}, status: 'error' }));
  const count = (reply: ServerResponse): void => void reply.end(JSON.stringify({ count: 7 }));

  test('no other call is sent for a second either, then one, and with its answer all', async () => {
    const time = handTime();
    const crm = clientOf(url, { time });
    answer = (reply, call) => (call === 1 ? tooMany(reply) : count(reply));
    await expect(crm.countRecords('Leads')).rejects.toMatchObject({ code: 'CRM_RATE_LIMITED' });
    const others = [crm.countRecords('Leads'), crm.countRecords('Deals'), crm.countRecords('Products')];
    await time.advance(999);
    expect(calls).toBe(1);
    await time.advance(1);
    expect(await Promise.all(others)).toEqual([7, 7, 7]);
    expect(calls).toBe(4);
  });
});

describe('downloads', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'lockstep-limits-'));
    closers.push(() => rm(folder, { recursive: true, force: true }));
  });

  test('are begun eight times a minute at most: the ninth waits', async () => {
    const simulator = await simulatorOf();
    const time = handTime();
    const crm = clientOf(simulator.url, { time });
    const { jobId } = await bulkRead(crm);
    const downloads = Array.from({ length: 9 }, (_, at) => crm.downloadBulkRead({ jobId, file: join(folder, `${at}.zip`) }));
    await Promise.all(downloads.slice(0, 8));
    await time.advance(59_999);
    expect(simulator.counters().byKind['bulk download']?.calls).toBe(8);
    await time.advance(1);
    await downloads[8];
    expect(simulator.counters()).toMatchObject({ byKind: { 'bulk download': { calls: 9 } }, refused: { downloads: 0 } });
  });

  test('that were refused stop for a minute, and nothing else does', async () => {
    const simulator = await simulatorOf({ downloadsPerMinute: 1 });
    const time = handTime();
    const crm = clientOf(simulator.url, { time });
    const { jobId } = await bulkRead(crm);
    const download = (): Promise<unknown> => crm.downloadBulkRead({ jobId, file: join(folder, 'page.zip') }).catch((error: unknown) => error);
    await download();
    expect(await download()).toMatchObject({ code: 'CRM_RATE_LIMITED' });
    const waiting = download();
    expect(await crm.countRecords('Deals')).toBe(5);
    await time.advance(59_999);
    expect(simulator.counters().byKind['bulk download']?.calls).toBe(2);
    await time.advance(1);
    await waiting;
    expect(simulator.counters().byKind['bulk download']?.calls).toBe(3);
  });
});

describe('credits', () => {
  const spentBy = async (meter: CreditMeter): Promise<number> => {
    let sum = 0;
    await meter.flush(async (spent) => {
      sum += Object.values(spent.credits).reduce((total, one) => total + one, 0);
    });
    return sum;
  };

  test.each(apiVersions)('are counted as the CRM counts them, over a load and a catch-up, on %s', async (version) => {
    const simulator = await simulatorOf({ records: { Leads: 230, Deals: 5 }, pageSize: 150 });
    const meter = new CreditMeter();
    const crm = clientOf(simulator.url, { env: { CRM_API_VERSION: version }, onCall: (report) => meter.note(report) });
    const folder = await mkdtemp(join(tmpdir(), 'lockstep-credits-'));
    closers.push(() => rm(folder, { recursive: true, force: true }));
    await crm.enableNotifications({ channelId: '1', module: 'Leads', notifyUrl: 'http://127.0.0.1:9/n', token: 't', expiresAt: new Date(Date.now() + crm.rules.channelLifeMs) });
    await crm.listChannels();
    await crm.countRecords('Leads');
    const first = await bulkRead(crm);
    const second = await bulkRead(crm, 2, first.nextPageToken);
    for (const { jobId } of [first, second]) await crm.downloadBulkRead({ jobId, file: join(folder, 'page.zip') });
    simulator.massEdit('Leads', simulator.firstIds('Leads', 220), { Company: 'Ada' });
    const window = { module: 'Leads', fields: ['Company'], since: new Date(Date.now() - 60_000) };
    const page = await crm.changedSince({ ...window, after: null });
    const last = page.records.at(-1);
    expect([page.records.length, page.hasMore]).toEqual([200, true]);
    expect((await crm.changedSince({ ...window, after: { modifiedTime: last?.modifiedTime ?? '', id: last?.id ?? '' } })).records).toHaveLength(20);
    await crm.deletedSince('Leads', new Date(Date.now() - 60_000));
    await crm.lookAt({ module: 'Leads', fields: ['Company'], ids: simulator.firstIds('Leads', crm.rules.idsPerLook) });
    const { credits, byKind } = simulator.counters();
    expect(await spentBy(meter)).toBe(credits);
    expect(byKind['coql']).toEqual({ calls: 3, credits: 1 + 3 + 1 });
    expect(byKind['bulk create']).toEqual({ calls: 2, credits: 100 });
  });

  test('that are left are passed on from the CRM\'s own header', async () => {
    const simulator = await simulatorOf({ credits: 4 });
    const reports: CallReport[] = [];
    const crm = clientOf(simulator.url, { onCall: (report) => void reports.push(report) });
    for (let call = 0; call < 3; call += 1) await crm.countRecords('Deals');
    expect(reports.map(({ creditsRemaining }) => creditsRemaining)).toEqual([null, 2, 1]);
  });
});
