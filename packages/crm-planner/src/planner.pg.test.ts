import { defaultCatchUpRules } from '@lockstep/completeness';
import { createCrmClient, type CrmClientOptions, createTokenSource, CreditMeter, type CrmClient, CrmError, loadCrmConfig, memoryTokenStore } from '@lockstep/crm-client';
import { type Simulator, startSimulator } from '@lockstep/crm-simulator';
import { createTestDatabase, type TestDatabase } from '@lockstep/local-stack';
import { leads } from '@lockstep/modules';
import { bulkRuns, catchUps, channels, connect, createSignals, creditUse, clockReports, type Database, deletionBreaker, incidents, migrate, registerAudits, type Signals, watermarks } from '@lockstep/postgres';
import { createLogger, createMetrics } from '@lockstep/telemetry';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { planRead } from './credit-watch.ts';
import { createPlannerMetrics } from './metrics.ts';
import { PageMover } from './move-pages.ts';
import { Planner } from './planner.ts';
import { refreshWhenDue, startRefresh } from './refresh.ts';
import { renewChannel } from './renew-channel.ts';
import { Reporter } from './reporter.ts';
import { startInitialRun } from './start-initial-run.ts';

const secret = 'a secret of this test only';
const publicUrl = 'http://127.0.0.1:9';
const log = createLogger({ app: 'test', level: 'silent', isPretty: false });

let testDatabase: TestDatabase;
let db: Database;
let signals: Signals;
let simulator: Simulator;
let crm: CrmClient;

beforeEach(async () => {
  testDatabase = await createTestDatabase({ legacySchema: true });
  db = await connect({ url: testDatabase.url, poolSize: 6 });
  await migrate(db, [leads]);
  signals = createSignals(db);
  simulator = await startSimulator({ records: { Leads: 50, Deals: 0, Products: 0 }, pageSize: 20, jobDelayMs: 0 });
  crm = clientOf();
});
afterEach(async () => {
  await Promise.all([crm.close(), signals.close()]);
  await simulator.close();
  await db.close();
  await testDatabase.drop();
});

function clientOf(options: Partial<CrmClientOptions> = {}): CrmClient {
  const config = loadCrmConfig({ CRM_API_URL: simulator.url, CRM_ACCOUNTS_URL: simulator.url, CRM_CLIENT_ID: 'simulator', CRM_CLIENT_SECRET: 'simulator', CRM_REFRESH_TOKEN: 'simulator' });
  return createCrmClient({ config, tokens: createTokenSource({ config, store: memoryTokenStore() }), retries: 0, ...options });
}

const jobs = () => ({ runs: bulkRuns(db), credits: creditUse(db), creditRules: { perDay: null, reserve: 0.25 }, channels: channels(db), crm, signals, secret, publicUrl, now: () => new Date(), log, metrics: createPlannerMetrics(createMetrics({ app: 'test' })) });

describe('a round', () => {
  const planner = (crm: CrmClient): Planner => {
    const admin = { topicId: () => Promise.resolve('t'), topicOffsets: () => Promise.resolve([{ partition: 0, low: 0, high: 0 }]) };
    const stores = { catchUps: catchUps(db), watermarks: watermarks(db), breaker: deletionBreaker(db), incidents: incidents(db), audits: registerAudits(db), clocks: clockReports(db) };
    return new Planner({ ...jobs(), ...stores, crm, admin, catchUpRules: defaultCatchUpRules, refreshEveryMs: 604_800_000 });
  };
  const refusing = (): CrmClient => ({ ...crm, enableNotifications: () => Promise.reject(new CrmError('no', 'CRM_REFUSED')) });
  const round = (crm: CrmClient): Promise<boolean> => planner(crm).round(leads, { pollAll: false });

  test('begins no load before there was a channel', async () => {
    await expect(round(refusing())).rejects.toMatchObject({ code: 'CRM_REFUSED' });
    expect(await bulkRuns(db).all()).toEqual([]);
  });

  test('reads on while a channel cannot be renewed, and says so', async () => {
    await renewChannel(jobs(), leads);
    await db.pool.query('update lockstep.channel set renew_at = now()');
    await expect(round(refusing())).rejects.toMatchObject({ code: 'CRM_REFUSED' });
    expect(await bulkRuns(db).all()).toMatchObject([{ module: 'Leads', kind: 'initial' }]);
  });
});

describe('pages', () => {
  test('a job that the CRM no longer knows is requested again; after five attempts the run fails', async () => {
    const given = jobs();
    const mover = new PageMover({ ...given, crm: { rules: crm.rules, createBulkRead: () => Promise.resolve({ jobId: '1', createdTime: new Date() }), bulkReadStatus: (jobId) => crm.bulkReadStatus(jobId) } });
    await startInitialRun(given, leads);
    for (let round = 0; round < 12; round += 1) await mover.move(leads, { pollAll: true });
    expect(await given.runs.all()).toMatchObject([{ state: 'failed', failure: 'the CRM does not know the job' }]);
  });

  test('a page token that has expired fails the run, which begins again later', async () => {
    const given = jobs();
    await startInitialRun(given, leads);
    const [first] = await given.runs.openPages();
    await given.runs.requested(first as NonNullable<typeof first>, { jobId: '1', createdTime: new Date() });
    await given.runs.ready(first as NonNullable<typeof first>, { count: 20, moreRecords: true, nextPageToken: 'unknown' });
    const mover = new PageMover({ ...given, crm: { ...crm, rules: crm.rules, createBulkRead: () => Promise.reject(new CrmError('expired', 'CRM_PAGE_TOKEN_EXPIRED')) } });
    await mover.move(leads, { pollAll: false });
    expect(await given.runs.all()).toMatchObject([{ state: 'failed', failure: 'the page token expired' }]);
  });

  test('a page token that the CRM does not take from us fails the run; another refusal does not', async () => {
    const given = jobs();
    await startInitialRun(given, leads);
    const mover = new PageMover({ ...given, crm: { ...crm, rules: crm.rules, createBulkRead: () => Promise.reject(new CrmError('no', 'CRM_REFUSED')) } });
    await expect(mover.move(leads, { pollAll: false })).rejects.toMatchObject({ code: 'CRM_REFUSED' });
    const [first] = await given.runs.openPages();
    await given.runs.requested(first as NonNullable<typeof first>, { jobId: '1', createdTime: new Date() });
    await given.runs.ready(first as NonNullable<typeof first>, { count: 20, moreRecords: true, nextPageToken: 'of another user' });
    await new PageMover(given).move(leads, { pollAll: false });
    expect(await given.runs.all()).toMatchObject([{ state: 'failed', failure: expect.stringMatching(/the page token was refused/) }]);
  });

  test('a job that fails is requested again, and why it failed is noted', async () => {
    const given = jobs();
    await startInitialRun(given, leads);
    const failing = { ...crm, bulkReadStatus: () => Promise.resolve({ state: 'failed', failure: 'Internal server error occurred.' } as const) };
    const mover = new PageMover({ ...given, crm: failing });
    for (let round = 0; round < 2; round += 1) await mover.move(leads, { pollAll: true });
    expect(await given.runs.openPages()).toMatchObject([{ state: 'wanted', jobId: null, attempts: 1, failure: 'Internal server error occurred.' }]);
  });

  test('a job whose status cannot be believed keeps its page, which is polled on; after an hour it is requested again', async () => {
    const given = jobs();
    await startInitialRun(given, leads);
    let now = 0;
    const mover = new PageMover({ ...given, time: { elapsed: () => now }, crm: { ...crm, bulkReadStatus: () => Promise.reject(new CrmError('no count', 'CRM_REPLY_UNEXPECTED')) } });
    for (let round = 0; round < 3; round += 1) await mover.move(leads, { pollAll: true });
    expect(await given.runs.openPages()).toMatchObject([{ state: 'requested', attempts: 1 }]);
    now += 61 * 60_000;
    await mover.move(leads, { pollAll: true });
    expect(await given.runs.openPages()).toMatchObject([{ state: 'wanted', jobId: null }]);
  });

  test('a job that does not end within an hour is requested again', async () => {
    const given = jobs();
    await startInitialRun(given, leads);
    let now = 0;
    const mover = new PageMover({ ...given, time: { elapsed: () => now }, crm: { ...crm, bulkReadStatus: () => Promise.resolve({ state: 'running' } as const) } });
    for (let round = 0; round < 2; round += 1) await mover.move(leads, { pollAll: true });
    expect(await given.runs.openPages()).toMatchObject([{ state: 'requested', attempts: 1 }]);
    now += 61 * 60_000;
    await mover.move(leads, { pollAll: true });
    expect(await given.runs.openPages()).toMatchObject([{ state: 'wanted', jobId: null, failure: 'the job did not end within an hour' }]);
  });
});

describe('credits', () => {
  const loaded = async (expectedRows: number): Promise<void> => {
    const runs = bulkRuns(db);
    await runs.start('Leads', 'initial', { expectedRows });
    const [page] = await runs.openPages();
    await runs.ready(page as NonNullable<typeof page>, { count: 0, moreRecords: false });
    await runs.published(page as NonNullable<typeof page>, { rows: 0, ids: null });
  };
  const given = (perDay: number | null) => ({ ...jobs(), creditRules: { perDay, reserve: 0.25 }, refreshEveryMs: 0 });
  const reporter = () => new Reporter({ ...jobs(), incidents: incidents(db) });

  test('a load takes no more of them, by our count and by the CRM\'s, than its plan says', async () => {
    const meter = new CreditMeter();
    await crm.close();
    crm = clientOf({ onCall: (report) => meter.note(report) });
    const planned = await planRead({ ...jobs(), creditRules: { perDay: 5_000, reserve: 0.25 } }, 50);
    const deps = { ...jobs(), crm };
    await startInitialRun(deps, leads);
    const mover = new PageMover(deps);
    while ((await bulkRuns(db).all())[0]?.state !== 'complete') {
      await mover.move(leads, { pollAll: true });
      for (const page of await bulkRuns(db).openPages()) if (page.state === 'ready') await bulkRuns(db).published(page, { rows: page.rowCount ?? 0, ids: null });
    }
    await meter.flush((spent) => creditUse(db).add(spent));
    const { credits } = await creditUse(db).ofDay();
    expect(credits).toEqual({ look: 0, 'catch-up': 0, 'bulk-read': simulator.counters().credits - 1, other: 1 });
    // The simulator's pages have 20 rows: three, where the CRM's own would be one.
    expect(credits['bulk-read']).toBeLessThanOrEqual(planned.credits * 3);
  });

  test('a refresh that would touch the reserve waits, and an incident is opened; it begins once it would not', async () => {
    await loaded(250_000);
    const reporting = reporter();
    await creditUse(db).add({ credits: { look: 0, 'catch-up': 0, 'bulk-read': 0, other: 3_600 }, remaining: null });
    await refreshWhenDue(given(5_000), leads, reporting);
    expect(await bulkRuns(db).all()).toHaveLength(1);
    expect(await incidents(db).list()).toMatchObject([{ module: 'Leads', kind: 'refresh-waits', details: '250000 rows in 2 pages take up to 152 credits, 3.0 % of the day\'s, and that would touch the reserve' }]);
    expect(simulator.counters().calls).toBe(0);
    await refreshWhenDue(given(6_000), leads, reporting);
    expect((await bulkRuns(db).all()).at(-1)).toMatchObject({ kind: 'refresh', state: 'running', expectedRows: 50 });
    expect(await incidents(db).list()).toEqual([]);
  });

  test('a person may begin a refresh all the same, and learns what it takes', async () => {
    await loaded(50);
    expect(await startRefresh(given(90), 'Leads', { isAnyway: false })).toEqual({ status: 'refused', problem: expect.stringMatching(/up to 76 credits, 84.4 % of the day's, and that would touch the reserve/) });
    expect(await startRefresh(given(90), 'Leads', { isAnyway: true })).toEqual({ status: 'started', plan: { rows: 50, pages: 1, credits: 76, shareOfDay: 76 / 90, isAffordable: false } });
    expect(await startRefresh(given(null), 'Leads', { isAnyway: true })).toEqual({ status: 'refused', problem: 'Leads is being read already' });
    expect(await startRefresh(given(null), 'Deals', { isAnyway: true })).toEqual({ status: 'refused', problem: 'Deals was never loaded' });
  });

  test('the first load waits for none', async () => {
    await creditUse(db).add({ credits: { look: 0, 'catch-up': 0, 'bulk-read': 0, other: 9_999 }, remaining: null });
    await startInitialRun({ ...jobs(), creditRules: { perDay: 5_000, reserve: 0.25 } }, leads);
    expect(await bulkRuns(db).all()).toMatchObject([{ kind: 'initial', state: 'running' }]);
  });
});

describe('channels', () => {
  test('a channel that is not due is kept unchanged, a due one is extended with the same id', async () => {
    const twoDays = { ...crm, rules: { ...crm.rules, channelLifeMs: 2 * 86_400_000 } };
    const given = { ...jobs(), crm: twoDays };
    await renewChannel(given, leads);
    const [before] = await channels(db).all();
    await renewChannel(given, leads);
    expect(await channels(db).all()).toEqual([before]);
    await renewChannel({ ...given, now: () => new Date(Date.now() + 86_400_000) }, leads);
    const [after] = await channels(db).all();
    expect(after?.channelId).toBe(before?.channelId);
    expect(after?.renewAt.getTime()).toBeGreaterThan(before?.renewAt.getTime() ?? 0);
    expect(await crm.listChannels()).toHaveLength(1);
  });

  test('a channel that was granted for less than was asked is renewed at half of it', async () => {
    const given = jobs();
    await renewChannel({ ...given, crm: { ...crm, rules: { ...crm.rules, channelLifeMs: 30 * 86_400_000 } } }, leads);
    const [channel] = await channels(db).all();
    expect((channel?.renewAt.getTime() ?? 0) - Date.now()).toBeLessThan(31 * 60_000);
  });
});
