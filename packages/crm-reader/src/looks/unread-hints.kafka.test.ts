import { createCrmClient, createTokenSource, loadCrmConfig, memoryTokenStore } from '@lockstep/crm-client';
import { startSimulator } from '@lockstep/crm-simulator';
import { createKafka, createProducer } from '@lockstep/kafka';
import { createTestDatabase, createTestTopic, openTransaction, testKafkaBrokers, uniqueName } from '@lockstep/local-stack';
import { leads } from '@lockstep/modules';
import { encodeHint, type Hint } from '@lockstep/notifications';
import { connect, migrate, partitionStates, readUnreadHints } from '@lockstep/postgres';
import { createLogger, createMetrics } from '@lockstep/telemetry';
import { expect, test } from 'vitest';

import { createReaderMetrics } from '../metrics.ts';
import { asideInMemory } from '../testing.ts';
import { readHints } from './read-hints.ts';

const log = createLogger({ app: 'test', level: 'silent', isPretty: false });
const hint = (id: string): { key: string; value: string; partition: number } => ({ key: id, partition: 0, value: encodeHint({ module: 'Leads', id, operation: 'update', channelId: '1', serverTimeMs: null, receivedMs: 0 } satisfies Hint) });

test('hints that an open transaction of another producer holds are noted with what ends it, and answered once it has ended', async () => {
  const kafka = createKafka({ config: { brokers: testKafkaBrokers(), ssl: false, sasl: undefined }, clientId: 'test', log });
  const [producer, topic, database] = await Promise.all([createProducer(kafka), createTestTopic({ partitions: 1 }), createTestDatabase({ legacySchema: true })]);
  const db = await connect({ url: database.url, poolSize: 4 });
  await migrate(db, [leads]);
  const simulator = await startSimulator({ records: { Leads: 2, Deals: 0, Products: 0 }, tokensPerTenMinutes: 0 });
  const config = loadCrmConfig({ CRM_API_URL: simulator.url, CRM_ACCOUNTS_URL: simulator.url, CRM_CLIENT_ID: 'simulator', CRM_CLIENT_SECRET: 'simulator', CRM_REFRESH_TOKEN: 'simulator' });
  const crm = createCrmClient({ config, tokens: createTokenSource({ config, store: memoryTokenStore() }), retries: 0 });
  const [theirs = '', ours = ''] = simulator.firstIds('Leads', 2);
  const stopping = new AbortController();
  const answered: string[] = [];
  const reading = readHints({
    kafka,
    modules: [leads],
    crm,
    producer: { send: async (_, messages) => void answered.push(...[...messages].map(({ key }) => String(key))) },
    aside: asideInMemory(),
    deadLetters: { put: async () => undefined },
    register: { known: async () => new Map(), hidden: async () => undefined, parked: async () => new Map() },
    breaker: { admits: async () => true },
    referrers: { to: async () => [] },
    looks: { want: async () => undefined },
    partitions: partitionStates(db),
    metrics: createReaderMetrics(createMetrics({ app: 'test' })),
    log,
    epsilonMs: 60_000,
    lookIntervalMs: 0,
    signal: stopping.signal,
    onFatal: (error) => { throw error; },
    topic: topic.name,
    groupId: uniqueName('hints'),
    heldMs: 200,
  });
  try {
    const finish = await openTransaction(topic.name, [hint(theirs)]);
    await producer.send(topic.name, [hint(ours)]);
    await expect.poll(() => readUnreadHints(db), { timeout: 20_000 }).toMatchObject({ count: 1, cause: expect.stringMatching(`${topic.name}/0 cannot be read on at offset 0: another producer has a transaction open there.* --start-offset 0$`) as unknown });
    expect(answered).toEqual([]);
    await finish('abort');
    await expect.poll(() => readUnreadHints(db), { timeout: 20_000 }).toBe(null);
    await expect.poll(() => answered, { timeout: 20_000 }).toEqual([ours]);
  } finally {
    stopping.abort();
    await reading;
    await Promise.all([db.close(), crm.close(), simulator.close()]);
    await Promise.all([producer.close(), topic.drop(), database.drop()]);
  }
});
