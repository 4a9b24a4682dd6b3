import { defaultCatchUpRules } from '@lockstep/completeness';
import { createCrmClient, createTokenSource, type CrmClient, CrmError, loadCrmConfig, memoryTokenStore } from '@lockstep/crm-client';
import { type Simulator, startSimulator } from '@lockstep/crm-simulator';
import { createTestDatabase, type TestDatabase } from '@lockstep/local-stack';
import { leads } from '@lockstep/modules';
import { bulkRuns, catchUps, channels, connect, createSignals, creditUse, type Database, deletionBreaker, incidents, migrate, registerAudits, type Signals, watermarks } from '@lockstep/postgres';
import { createLogger, createMetrics } from '@lockstep/telemetry';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { createPlannerMetrics } from './metrics.ts';
import { PageMover } from './move-pages.ts';
import { Planner } from './planner.ts';
import { renewChannel } from './renew-channel.ts';
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
  const config = loadCrmConfig({ CRM_API_URL: simulator.url, CRM_ACCOUNTS_URL: simulator.url, CRM_CLIENT_ID: 'simulator', CRM_CLIENT_SECRET: 'simulator', CRM_REFRESH_TOKEN: 'simulator' });
  crm = createCrmClient({ config, tokens: createTokenSource({ config, store: memoryTokenStore() }), retries: 0 });
});
afterEach(async () => {
  await Promise.all([crm.close(), signals.close()]);
  await simulator.close();
  await db.close();
  await testDatabase.drop();
});

const jobs = () => ({ runs: bulkRuns(db), credits: creditUse(db), creditRules: { perDay: null, reserve: 0.25 }, channels: channels(db), crm, signals, secret, publicUrl, now: () => new Date(), log, metrics: createPlannerMetrics(createMetrics({ app: 'test' })) });

describe('a round', () => {
  const planner = (crm: CrmClient): Planner => {
    const admin = { topicId: () => Promise.resolve('t'), topicOffsets: () => Promise.resolve([{ partition: 0, low: 0, high: 0 }]) };
    const stores = { catchUps: catchUps(db), watermarks: watermarks(db), breaker: deletionBreaker(db), incidents: incidents(db), audits: registerAudits(db) };
    return new Planner({ ...jobs(), ...stores, crm, admin, catchUpRules: defaultCatchUpRules, refreshEveryMs: 604_800_000 });
  };
  const refusing = (): CrmClient => ({ ...crm, enableNotifications: () => Promise.reject(new CrmError('no', 'CRM_REFUSED')) });
  const round = (crm: CrmClient): Promise<void> => planner(crm).round(leads, { isPoked: false });

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
  test('a job that the CRM no longer knows is asked for anew; after five attempts the run fails', async () => {
    const given = jobs();
    const mover = new PageMover({ ...given, crm: { rules: crm.rules, createBulkRead: () => Promise.resolve({ jobId: '1', createdTime: new Date() }), bulkReadStatus: (jobId) => crm.bulkReadStatus(jobId) } });
    await startInitialRun(given, leads);
    for (let round = 0; round < 12; round += 1) await mover.move(leads, { isPoked: true });
    expect(await given.runs.all()).toMatchObject([{ state: 'failed', failure: 'the CRM does not know the job' }]);
  });

  test('a page token that has expired fails the run, which begins anew later', async () => {
    const given = jobs();
    await startInitialRun(given, leads);
    const [first] = await given.runs.openPages();
    await given.runs.requested(first as NonNullable<typeof first>, { jobId: '1', createdTime: new Date() });
    await given.runs.ready(first as NonNullable<typeof first>, { count: 20, moreRecords: true, nextPageToken: 'unknown' });
    const mover = new PageMover({ ...given, crm: { ...crm, rules: crm.rules, createBulkRead: () => Promise.reject(new CrmError('expired', 'CRM_PAGE_TOKEN_EXPIRED')) } });
    await mover.move(leads, { isPoked: false });
    expect(await given.runs.all()).toMatchObject([{ state: 'failed', failure: 'the page token expired' }]);
  });
});

describe('channels', () => {
  test('a channel that is not due is left alone, a due one is extended with the same id', async () => {
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
