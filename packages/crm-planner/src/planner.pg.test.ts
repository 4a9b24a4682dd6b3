import { defaultCatchUpRules } from '@lockstep/completeness';
import { createCrmClient, type CrmClientOptions, createTokenSource, CreditMeter, type CrmClient, CrmError, loadCrmConfig, memoryTokenStore } from '@lockstep/crm-client';
import { type Simulator, startSimulator } from '@lockstep/crm-simulator';
import { createTestDatabase, type TestDatabase } from '@lockstep/local-stack';
import { deals, leads } from '@lockstep/modules';
import { type BulkPageRow, bulkRuns, catchUps, channels, connect, createSignals, creditUse, clockReports, type Database, deletionBreaker, fieldsMissing, incidents, migrate, registerAudits, type Signals, watermarks } from '@lockstep/postgres';
import { createLogger, createMetrics, realTime } from '@lockstep/telemetry';
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
  await migrate(db, [leads, deals]);
  laterMs = 0;
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

/** The database's time, as the planner reads it, is so much later. */
let laterMs = 0;
const jobs = () => ({ runs: bulkRuns(db), fields: fieldsMissing(db), modules: [leads, deals], credits: creditUse(db), creditRules: { perDay: null, reserve: 0.25 }, channels: channels(db), crm, signals, secret, publicUrl, now: () => new Date(Date.now() + laterMs), log, metrics: createPlannerMetrics(createMetrics({ app: 'test' })) });

describe('a round', () => {
  const refusing = (): CrmClient => ({ ...crm, enableNotifications: () => Promise.reject(new CrmError('no', 'CRM_REFUSED')) });
  const round = (crm: CrmClient): Promise<boolean> => plannerOf(crm, 604_800_000, realTime).round(leads, { pollAll: false });

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

  /** The first load is complete, and a refresh is due. */
  const afterFirstLoad = async (): Promise<void> => {
    const runs = bulkRuns(db);
    await runs.start('Leads', 'initial');
    const [page] = (await runs.openPages()) as [BulkPageRow];
    await runs.requested(page, { jobId: '1', createdTime: new Date(Date.now() - 3_600_000) });
    await runs.ready(page, { count: 0, moreRecords: false });
    await runs.published(page, { rows: 0, ids: null });
    await renewChannel(jobs(), leads);
  };
  const plannerOf = (crm: CrmClient, refreshEveryMs: number, time: { elapsed: () => number }): Planner => {
    const admin = { topicId: () => Promise.resolve('t'), topicOffsets: () => Promise.resolve([{ partition: 0, low: 0, high: 0 }]) };
    const stores = { catchUps: catchUps(db), watermarks: watermarks(db), breaker: deletionBreaker(db), incidents: incidents(db), audits: registerAudits(db), clocks: clockReports(db) };
    return new Planner({ ...jobs(), ...stores, crm, admin, time, catchUpRules: defaultCatchUpRules, refreshEveryMs });
  };
  const open = async (): Promise<string[]> => (await incidents(db).list()).map(({ kind, details }) => `${kind}: ${details}`).toSorted();

  test('catches up and renews channels while no bulk job can be had; it is reported within a minute with its cause, and closed once it is over', async () => {
    await afterFirstLoad();
    let isRefusing = true;
    let elapsedMs = 0;
    const crmOf = { ...crm, createBulkRead: (...given: Parameters<CrmClient['createBulkRead']>) => (isRefusing ? Promise.reject(new CrmError('the scope was withdrawn', 'CRM_REFUSED')) : crm.createBulkRead(...given)) };
    const one = plannerOf(crmOf, 0, { elapsed: () => elapsedMs });
    const rounds = async (seconds: number): Promise<void> => {
      for (let second = 0; second < seconds; second += 5) {
        [elapsedMs, laterMs] = [elapsedMs + 5_000, laterMs + 5_000];
        await one.round(leads, { pollAll: true });
      }
    };
    await rounds(60);
    expect(await open()).toEqual([expect.stringMatching(/^load-failing: the refresh waits for page 1: the scope was withdrawn \(attempt 2/), expect.stringMatching(/^page-unreadable: page 1 of the refresh: the scope was withdrawn/)]);
    expect((await catchUps(db).open()).map(({ module }) => module)).toEqual(['Leads']);
    isRefusing = false;
    await rounds(180);
    expect((await open()).filter((line) => line.includes('withdrawn'))).toEqual([]);
    expect((await bulkRuns(db).openPages()).map(({ state }) => state)).toEqual(['ready', 'ready', 'ready']);
  });

  test('reads in bulk while catch-ups cannot be planned, and says so', async () => {
    await afterFirstLoad();
    const one = plannerOf(crm, 0, { elapsed: () => 0 });
    await db.pool.query('alter table lockstep.catch_up rename to gone');
    await expect(one.round(leads, { pollAll: true })).rejects.toThrow(/catch_up/);
    expect((await bulkRuns(db).all()).map(({ kind }) => kind)).toEqual(['initial', 'refresh']);
  });

  test('reports catch-ups that fail one after another, and closes it with the first that does not', async () => {
    await afterFirstLoad();
    let elapsedMs = 0;
    const one = plannerOf(crm, 604_800_000, { elapsed: () => elapsedMs });
    const next = async (): Promise<number> => {
      [elapsedMs, laterMs] = [elapsedMs + 20_000, laterMs + 20_000];
      await one.round(leads, { pollAll: true });
      return (await catchUps(db).open())[0]?.id ?? 0;
    };
    for (let failure = 1; failure <= 2; failure += 1) await catchUps(db).failed(await next(), 'the list fails at page 11');
    const third = await next();
    expect(await open()).toEqual(['catch-up-failing: 2 in a row have failed: the list fails at page 11']);
    await catchUps(db).read(third, new Date(Date.now() - 1_000), { rows: 0, seen: 0, unhinted: 0, deleted: 0 });
    await next();
    expect(await open()).toEqual([]);
  });
});

describe('pages', () => {
  const HOUR_MS = 3_600_000;
  const first = async () => (await bulkRuns(db).openPages())[0];

  test('a refused job is requested again less and less often, also by the next leader: ten times on the first day, and four on the second', async () => {
    const given = jobs();
    await startInitialRun(given, leads);
    let requests = 0;
    const createBulkRead = () => {
      requests += 1;
      return Promise.reject(new CrmError(`no ${requests}`, 'CRM_REFUSED'));
    };
    // The database notes the next attempt by its own clock, which is moved here.
    const runs = { ...given.runs, attempt: (page: BulkPageRow, waitMs: number) => given.runs.attempt(page, waitMs + laterMs) };
    const after: number[] = [];
    for (let seconds = 0; seconds < 172_800; seconds += seconds < 4_000 ? 5 : 600) {
      laterMs = seconds * 1_000;
      await new PageMover({ ...given, runs, crm: { ...crm, rules: crm.rules, createBulkRead } }).move(leads, { pollAll: true });
      if (seconds < 86_400) after[0] = requests;
    }
    expect([after[0], requests]).toEqual([10, 14]);
    expect(await first()).toMatchObject({ state: 'wanted', attempts: requests, failure: `no ${requests}` });
    expect(await given.runs.all()).toMatchObject([{ state: 'running' }]);
  });

  test('a field that the CRM refuses to export is noted and left out at once, also by the next leader, and exported again once it is back', async () => {
    const given = jobs();
    const asked: (readonly string[])[] = [];
    const gone = ['Company', 'City'];
    const lacking: CrmClient = { ...crm, createBulkRead: (request) => {
      asked.push(request.fields);
      const field = request.fields.find((one) => gone.includes(one));
      return field === undefined ? crm.createBulkRead(request) : Promise.reject(new CrmError('field not available', 'CRM_REFUSED', { crmCode: 'FIELD_NOT_AVAILABLE', details: { field } }));
    } };
    await startInitialRun(given, leads);
    const move = async (): Promise<unknown> => {
      asked.length = 0;
      await new PageMover({ ...given, crm: lacking }).move(leads, { pollAll: false });
      return [asked.length, gone.filter((field) => asked.at(-1)?.includes(field) === true)];
    };
    expect([await move(), await first()]).toMatchObject([[3, []], { state: 'requested', attempts: 1, failure: null }]);
    expect(await given.fields.all()).toMatchObject([{ module: 'Leads', field: 'City', cause: 'field not available', isBack: false }, { module: 'Leads', field: 'Company', isBack: false }]);
    await given.runs.wantedAgain((await first()) as BulkPageRow, 'lost');
    await db.pool.query('update lockstep.bulk_page set next_attempt_at = null');
    expect(await move()).toEqual([1, []]);
    gone.pop();
    await given.fields.back('Leads', 'City');
    await given.runs.wantedAgain((await first()) as BulkPageRow, 'lost');
    await db.pool.query('update lockstep.bulk_page set next_attempt_at = null');
    await move();
    expect([asked.length, asked[0]?.includes('City'), asked[0]?.includes('Company')]).toEqual([1, true, false]);
  });

  test('an attempt is counted before its call: a job whose answer was lost counts, and is not repeated at once', async () => {
    const given = jobs();
    await startInitialRun(given, leads);
    const seen: unknown[] = [];
    const losing = { ...crm, rules: crm.rules, createBulkRead: async () => { seen.push((await first())?.attempts); throw new CrmError('the answer was lost', 'CRM_UNREACHABLE'); } };
    for (let round = 0; round < 5; round += 1) await new PageMover({ ...given, crm: losing }).move(leads, { pollAll: false });
    expect(seen).toEqual([1]);
    expect(await first()).toMatchObject({ state: 'wanted', attempts: 1, failure: 'the answer was lost' });
  });

  test('a job that the CRM no longer knows is requested again', async () => {
    const given = jobs();
    const mover = new PageMover({ ...given, crm: { rules: crm.rules, time: () => crm.time(), createBulkRead: () => Promise.resolve({ jobId: '1', createdTime: new Date() }), bulkReadStatus: (jobId) => crm.bulkReadStatus(jobId) } });
    await startInitialRun(given, leads);
    for (let round = 0; round < 2; round += 1) await mover.move(leads, { pollAll: true });
    expect(await first()).toMatchObject({ state: 'wanted', failure: 'the CRM does not know the job' });
    laterMs = 11_000;
    await mover.move(leads, { pollAll: true });
    expect(await first()).toMatchObject({ state: 'requested', attempts: 2 });
  });

  test('a large catch-up gives its bulk run up after four attempts', async () => {
    const given = jobs();
    await given.runs.start('Leads', 'catch-up', { fromTime: new Date() });
    const mover = new PageMover({ ...given, crm: { ...crm, rules: crm.rules, createBulkRead: () => Promise.reject(new CrmError('no', 'CRM_REFUSED')) } });
    for (let round = 0; round < 5; round += 1) {
      await mover.move(leads, { pollAll: false });
      await db.pool.query('update lockstep.bulk_page set next_attempt_at = now()');
    }
    expect(await given.runs.all()).toMatchObject([{ state: 'failed', failure: 'no' }]);
  });

  test('jobs of a module that is no longer configured, and jobs that do not end, take no place; the module that waits longest comes first', async () => {
    const given = jobs();
    const request = async (module: string, minutesAgo: number): Promise<void> => {
      await given.runs.start(module, 'initial');
      const page = (await given.runs.openPages()).find((one) => one.module === module);
      await given.runs.requested(page as NonNullable<typeof page>, { jobId: module, createdTime: new Date() });
      await db.pool.query(`update lockstep.bulk_page set updated_at = now() - $2 * interval '1 minute' where module = $1`, [module, minutesAgo]);
    };
    const stateOf = async (module: string) => (await given.runs.openPages()).find((one) => one.module === module)?.state;
    const running = { ...crm, rules: crm.rules, bulkReadStatus: () => Promise.resolve({ state: 'running' } as const) };
    const mover = new PageMover({ ...given, modules: [leads, deals, { apiName: 'Quotes' }, { apiName: 'Orders' }], crm: running });
    for (const former of ['Former', 'Other']) await request(former, 0);
    await request('Quotes', 1);
    await startInitialRun(given, leads);
    await startInitialRun(given, deals);
    await db.pool.query(`update lockstep.bulk_page set updated_at = now() - interval '1 minute' where module = 'Deals'`);
    await mover.move(leads, { pollAll: true });
    expect([await stateOf('Leads'), await stateOf('Deals')]).toEqual(['wanted', 'wanted']);
    await mover.move(deals, { pollAll: true });
    await mover.move(leads, { pollAll: true });
    expect([await stateOf('Leads'), await stateOf('Deals')]).toEqual(['wanted', 'requested']);
    await db.pool.query(`update lockstep.bulk_page set updated_at = now() - interval '11 minutes' where module = 'Quotes'`);
    await mover.move(leads, { pollAll: true });
    expect(await stateOf('Leads')).toBe('requested');
  });

  test('a page token that has expired fails the run, which begins again later', async () => {
    const given = jobs();
    await startInitialRun(given, leads);
    const [page] = await given.runs.openPages();
    await given.runs.requested(page as NonNullable<typeof page>, { jobId: '1', createdTime: new Date() });
    await given.runs.ready(page as NonNullable<typeof page>, { count: 20, moreRecords: true, nextPageToken: 'unknown' });
    const mover = new PageMover({ ...given, crm: { ...crm, rules: crm.rules, createBulkRead: () => Promise.reject(new CrmError('expired', 'CRM_PAGE_TOKEN_EXPIRED')) } });
    await mover.move(leads, { pollAll: false });
    expect(await given.runs.all()).toMatchObject([{ state: 'failed', failure: 'the page token expired' }]);
  });

  test('a page token that the CRM does not take from us fails the run; another refusal does not', async () => {
    const given = jobs();
    await startInitialRun(given, leads);
    const mover = new PageMover({ ...given, crm: { ...crm, rules: crm.rules, createBulkRead: () => Promise.reject(new CrmError('no', 'CRM_REFUSED')) } });
    await mover.move(leads, { pollAll: false });
    expect(await given.runs.all()).toMatchObject([{ state: 'running' }]);
    await db.pool.query('update lockstep.bulk_page set next_attempt_at = now()');
    const [page] = await given.runs.openPages();
    await given.runs.requested(page as NonNullable<typeof page>, { jobId: '1', createdTime: new Date() });
    await given.runs.ready(page as NonNullable<typeof page>, { count: 20, moreRecords: true, nextPageToken: 'of another user' });
    await new PageMover(given).move(leads, { pollAll: false });
    expect(await given.runs.all()).toMatchObject([{ state: 'failed', failure: expect.stringMatching(/the page token was refused/) }]);
  });

  test('a job that fails is requested again, and why it failed is noted', async () => {
    const given = jobs();
    await startInitialRun(given, leads);
    const failing = { ...crm, bulkReadStatus: () => Promise.resolve({ state: 'failed', failure: 'Internal server error occurred.' } as const) };
    const mover = new PageMover({ ...given, crm: failing });
    for (let round = 0; round < 2; round += 1) await mover.move(leads, { pollAll: true });
    expect(await first()).toMatchObject({ state: 'wanted', jobId: null, attempts: 1, failure: 'Internal server error occurred.' });
  });

  test.each([
    ['whose status cannot be believed', () => Promise.reject(new CrmError('no count', 'CRM_REPLY_UNEXPECTED'))],
    ['that is queued or in progress', () => Promise.resolve({ state: 'running' } as const)],
  ])('a job %s keeps its page for a day, and is polled on, but rarely; then it is requested again', async (_, status) => {
    const given = jobs();
    await startInitialRun(given, leads);
    let polls = 0;
    const bulkReadStatus = () => {
      polls += 1;
      return status();
    };
    const mover = new PageMover({ ...given, time: { elapsed: () => laterMs }, crm: { ...crm, rules: crm.rules, bulkReadStatus } });
    await mover.move(leads, { pollAll: false });
    for (; laterMs < 24 * HOUR_MS - 60_000; laterMs += 60_000) await mover.move(leads, { pollAll: false });
    expect(await first()).toMatchObject({ state: 'requested', attempts: 1 });
    expect(polls).toBeGreaterThan(100);
    expect(polls).toBeLessThan(300);
    laterMs = 24 * HOUR_MS + 1_000;
    await mover.move(leads, { pollAll: true });
    expect(await first()).toMatchObject({ state: 'wanted', jobId: null, failure: 'the job did not end within a day' });
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
    expect(credits).toEqual({ look: 0, 'catch-up': 0, 'bulk-read': simulator.counters().credits - 1, retry: 0, other: 1 });
    // The simulator's pages have 20 rows: three, where the CRM's own would be one.
    expect(credits['bulk-read']).toBeLessThanOrEqual(planned.credits * 3);
  });

  test('a job that cannot be paid is not tried, which is no attempt, and is requested once it can be', async () => {
    let isPayable = false;
    await startInitialRun(jobs(), leads);
    const mover = new PageMover({ ...jobs(), budget: { state: () => null, canPay: ({ credits }) => isPayable || credits < 50 } });
    await mover.move(leads, { pollAll: true });
    expect(await bulkRuns(db).openPages()).toMatchObject([{ state: 'wanted', attempts: 0 }]);
    isPayable = true;
    await mover.move(leads, { pollAll: true });
    expect(await bulkRuns(db).openPages()).toMatchObject([{ state: 'requested', attempts: 1 }]);
  });

  test('a refresh that would touch the reserve waits, and an incident is opened; it begins once it would not', async () => {
    await loaded(250_000);
    const reporting = reporter();
    await creditUse(db).add({ credits: { look: 0, 'catch-up': 0, 'bulk-read': 0, retry: 0, other: 3_600 }, remaining: null });
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
    await creditUse(db).add({ credits: { look: 0, 'catch-up': 0, 'bulk-read': 0, retry: 0, other: 9_999 }, remaining: null });
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
