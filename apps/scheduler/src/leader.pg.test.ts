import { loadAlertConfig } from '@lockstep/alerts';
import { defaultCatchUpRules } from '@lockstep/completeness';
import { createCrmClient, createTokenSource, type CrmClient, loadCrmConfig, memoryTokenStore } from '@lockstep/crm-client';
import { type Simulator, startSimulator } from '@lockstep/crm-simulator';
import { createKafka, KafkaError } from '@lockstep/kafka';
import { createTestDatabase, type TestDatabase } from '@lockstep/local-stack';
import { leads } from '@lockstep/modules';
import { bulkRuns, channels, connect, createSignals, type Database, lease, migrate, type Signals } from '@lockstep/postgres';
import { createLogger } from '@lockstep/telemetry';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { type Problems, runLeader } from './leader.ts';
import { createSchedulerMetrics } from './metrics.ts';

const secret = 'a secret of this test only';
const publicUrl = 'http://127.0.0.1:9';
const log = createLogger({ app: 'test', level: 'silent', isPretty: false });

let testDatabase: TestDatabase;
let db: Database;
let signals: Signals;
let simulator: Simulator;
let crm: CrmClient;
let stopping: AbortController;

beforeEach(async () => {
  testDatabase = await createTestDatabase({ legacySchema: true });
  db = await connect({ url: testDatabase.url, poolSize: 6 });
  await migrate(db, [leads]);
  signals = createSignals(db);
  simulator = await startSimulator({ records: { Leads: 50, Deals: 0, Products: 0 }, pageSize: 20, jobDelayMs: 0 });
  crm = clientOf('v8');
  stopping = new AbortController();
});
afterEach(async () => {
  stopping.abort();
  await Promise.all([crm.close(), signals.close()]);
  await simulator.close();
  await db.close();
  await testDatabase.drop();
});

function clientOf(version: string): CrmClient {
  const config = loadCrmConfig({ CRM_API_URL: simulator.url, CRM_ACCOUNTS_URL: simulator.url, CRM_CLIENT_ID: 'simulator', CRM_CLIENT_SECRET: 'simulator', CRM_REFRESH_TOKEN: 'simulator', CRM_API_VERSION: version });
  return createCrmClient({ config, tokens: createTokenSource({ config, store: memoryTokenStore() }), retries: 0 });
}

// The log is not what is tested here: it is empty.
const kafka = createKafka({ config: { brokers: ['127.0.0.1:9'], ssl: false, sasl: undefined }, clientId: 'test', log });
const admin = { checkLogTopic: () => Promise.resolve(), ensureTopics: () => Promise.resolve(), partitionsOf: () => Promise.reject(new KafkaError('no such topic', 'TOPIC_MISSING')), topicId: () => Promise.resolve('topic-of-leads'), topicOffsets: () => Promise.resolve([{ partition: 0, low: 0, high: 0 }]) };
const producer = { send: () => Promise.resolve() };
const lead = (problems: Problems = new Map()) => runLeader({ db, signals, crm, kafka, admin, producer, catchUpRules: defaultCatchUpRules, creditRules: { perDay: null, reserve: 0.25 }, budget: { state: () => null, canPay: () => true }, refreshEveryMs: 604_800_000, verifyEveryMs: 0, alerts: loadAlertConfig({}), modules: [leads], secret, publicUrl, metrics: createSchedulerMetrics(), log, problems, signal: stopping.signal });

const moment = (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms));

/** Plays the ingress: notes every ready page as published. */
async function publishUntilComplete(): Promise<void> {
  const runs = bulkRuns(db);
  for (;;) {
    for (const page of await runs.openPages()) if (page.state === 'ready') await runs.published(page, { rows: page.rowCount ?? 0, ids: null });
    if ((await runs.all()).some(({ state }) => state === 'complete')) return;
    await Promise.race([signals.next('ready'), moment(100)]);
  }
}

describe('the leader', () => {
  test('enables the channel before it asks for the first job, and goes from page to page', async () => {
    const leading = lead();
    await publishUntilComplete();
    stopping.abort();
    await leading;
    const [run] = await bulkRuns(db).all();
    const pages = await bulkRuns(db).pagesOf(run?.id ?? 0);
    expect(pages.map(({ pageNumber, rowCount, moreRecords, state }) => [pageNumber, rowCount, moreRecords, state])).toEqual([
      [1, 20, true, 'published'],
      [2, 20, true, 'published'],
      [3, 10, false, 'published'],
    ]);
    const [channel] = await channels(db).all();
    // The job's time has whole seconds.
    expect(channel?.enabledAt.getTime()).toBeLessThan((pages[0]?.jobCreatedAt?.getTime() ?? 0) + 1_000);
    expect(run).toMatchObject({ kind: 'initial', state: 'complete', expectedRows: 50 });
  });

  test('another process leads once the first has gone, and goes on at the page it was in', async () => {
    const held = await lease(db, 'scheduler');
    const leading = lead();
    expect(await bulkRuns(db).all()).toEqual([]);
    await held?.release();
    await publishUntilComplete();
    stopping.abort();
    await leading;
    expect(await bulkRuns(db).all()).toHaveLength(1);
  });

  test('a CRM that refuses shows as a problem, and is gone once it answers', async () => {
    const problems: Problems = new Map();
    await crm.close();
    crm = createCrmClient({ config: { ...loadCrmConfig({ CRM_CLIENT_ID: 'x', CRM_CLIENT_SECRET: 'x', CRM_REFRESH_TOKEN: 'x' }), apiUrl: simulator.url, accountsUrl: simulator.url }, tokens: { get: () => Promise.resolve('wrong'), replace: () => Promise.resolve('wrong') }, retries: 0 });
    const leading = lead(problems);
    while (problems.size === 0) await moment(20);
    expect(problems.get('Leads')).toMatch(/INVALID_TOKEN/);
    stopping.abort();
    await leading;
  });
});
