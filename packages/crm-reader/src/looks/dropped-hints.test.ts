import { createCrmClient, createTokenSource, type CrmClient, loadCrmConfig, memoryTokenStore } from '@lockstep/crm-client';
import { dayBucket } from '@lockstep/completeness';
import { type Simulator, startSimulator } from '@lockstep/crm-simulator';
import { leads } from '@lockstep/modules';
import { type Hint, ownHint } from '@lockstep/notifications';
import { createLogger, createMetrics } from '@lockstep/telemetry';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';

import { createReaderMetrics } from '../metrics.ts';
import { asideInMemory } from '../testing.ts';
import { Looker } from './looker.ts';

let simulator: Simulator;
let client: CrmClient;
let looked: string[];
let answered: Set<string>;
/** How full the bucket of an organisation is that has 5,000 credits a day. */
let share: number;
let looker: Looker;
const stopping = new AbortController();
const bucket = dayBucket({ perDay: 5_000, reserve: 0.25 });

beforeAll(async () => {
  simulator = await startSimulator({ records: { Leads: 900, Deals: 0, Products: 0 }, tokensPerTenMinutes: 0 });
  const config = loadCrmConfig({ CRM_API_URL: simulator.url, CRM_ACCOUNTS_URL: simulator.url, CRM_CLIENT_ID: 'simulator', CRM_CLIENT_SECRET: 'simulator', CRM_REFRESH_TOKEN: 'simulator' });
  client = createCrmClient({ config, tokens: createTokenSource({ config, store: memoryTokenStore() }), retries: 0 });
});
afterAll(async () => {
  stopping.abort();
  await client.close();
  await simulator.close();
});

beforeEach(() => {
  [looked, answered, share] = [[], new Set(), 1];
  looker = new Looker({
    module: leads,
    crm: {
      rules: client.rules,
      lookAt: async (options) => {
        looked.push(...options.ids);
        return await client.lookAt(options);
      },
    },
    producer: { send: async () => undefined },
    register: { known: async () => new Map(), hidden: async () => undefined },
    deadLetters: { put: async () => undefined },
    aside: asideInMemory(),
    metrics: createReaderMetrics(createMetrics({ app: 'test' })),
    log: createLogger({ app: 'test', level: 'silent', isPretty: false }),
    signal: stopping.signal,
    epsilonMs: 60_000,
    intervalMs: 0,
    budget: { state: () => ({ ...bucket, level: bucket.capacity * share }) },
  });
});

const hintOf = (id: string): Hint => ({ module: 'Leads', id, operation: 'update', channelId: '1', serverTimeMs: null, receivedMs: 0 });

function hint(one: Hint): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  looker.add({ hint: one, name: 'hint 0/0', answered: () => {
    answered.add(one.id);
    resolve();
  } });
  return promise;
}

test('hints that credits cannot answer are left to the next catch-up: they are answered at once, and cost nothing', async () => {
  // 2,500 looks a day, or 868 records within five minutes, are what a module can have of 5,000 credits.
  share = 0.26;
  const ids = simulator.firstIds('Leads', 900);
  await Promise.all(ids.map((id) => hint(hintOf(id))));
  expect(answered.size).toBe(900);
  // The first went to a look before there were more.
  expect(looked.length).toBeLessThanOrEqual(1);
});

test('a look that Lockstep itself wants is never dropped', async () => {
  share = 0.26;
  const ids = simulator.firstIds('Leads', 900);
  const own = ids.slice(0, 2).map((id) => hint(ownHint('Leads', id, 0)));
  await Promise.all(ids.slice(2).map((id) => hint(hintOf(id))));
  await Promise.all(ids.slice(100, 900).map((id) => hint(hintOf(id))));
  const [, second] = ids;
  expect([answered.has(second ?? ''), looker.waiting]).toEqual([false, 1]);
  share = 1;
  looker.add({ hint: hintOf(ids[2] ?? ''), name: 'hint 0/1', answered: () => undefined });
  await Promise.all(own);
  expect(looked).toContain(second);
});

test('all are answered by looks while credits are plenty', async () => {
  const ids = simulator.firstIds('Leads', 900);
  await Promise.all(ids.map((id) => hint(hintOf(id))));
  expect(new Set(looked).size).toBe(900);
});
