import { createTestTopic, openTransaction, testKafkaBrokers, type TestTopic, uniqueName, writeTransactions } from '@lockstep/local-stack';
import { createLogger } from '@lockstep/telemetry';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { type Admin, createAdmin } from './admin.ts';
import { createKafka, type KafkaClient } from './client.ts';
import { type ConsumedBatch, createConsumer } from './consumer.ts';
import { createProducer, type Producer } from './producer.ts';
import { readLog } from './read-log.ts';

/* Another application writes to a topic in transactions: those that it gave up are no messages, and nothing comes again without end. */

const log = createLogger({ app: 'test', level: 'silent', isPretty: false });

let client: KafkaClient;
let producer: Producer;
let admin: Admin;
let topic: TestTopic;

beforeAll(async () => {
  client = createKafka({ config: { brokers: testKafkaBrokers(), ssl: false, sasl: undefined }, clientId: 'test', log });
  [producer, admin] = await Promise.all([createProducer(client), createAdmin(client)]);
});
afterAll(() => Promise.all([producer.close(), admin.close()]));
beforeEach(async () => {
  topic = await createTestTopic({ partitions: 1 });
});
afterEach(() => topic.drop());

const ours = (...values: readonly string[]): Promise<void> => producer.send(topic.name, values.map((value) => ({ key: 'k', value, partition: 0 })));
const theirs = (...transactions: readonly (readonly [end: 'commit' | 'abort', ...values: string[]])[]): Promise<void> =>
  writeTransactions(topic.name, transactions.map(([end, ...values]) => ({ end, messages: values.map((value) => ({ key: 'k', value })) })));
const end = async (): Promise<number> => (await admin.topicOffsets(topic.name))[0]?.high ?? 0;

/** What a consumer that begins at an offset is handed on, until it has all before the end. */
async function consumed(from = 0): Promise<{ readonly values: readonly string[]; readonly batches: readonly ConsumedBatch[] }> {
  const last = await end();
  const consumer = await createConsumer(client, { groupId: uniqueName('group'), topics: [topic.name], maxWaitMs: 50 });
  const batches: ConsumedBatch[] = [];
  const done = Promise.withResolvers<void>();
  await consumer.run({
    onAssigned: async (assigned) => assigned.map((one) => ({ ...one, offset: from })),
    onRevoked: async () => undefined,
    onBatch: async (batch) => {
      batches.push(batch);
      if (batch.following >= last) done.resolve();
    },
    onUnreadable: (_, error) => done.reject(error),
    onFatal: done.reject,
  });
  try {
    await done.promise;
  } finally {
    await consumer.close();
  }
  return { values: batches.flatMap(({ messages }) => messages.map(({ value }) => String(value))), batches };
}

async function read(from = 0): Promise<readonly string[]> {
  const values: string[] = [];
  await readLog(client, topic.name, [{ partition: 0, from, end: await end() }], {
    onMessages: async (_, messages) => void values.push(...messages.map(({ value }) => String(value))),
    onPartitionEnd: async () => undefined,
  });
  return values;
}

test('what was committed is handed on, what was given up is not, and offsets go on without a gap', async () => {
  await ours('a', 'b');
  await theirs(['commit', 'c'], ['abort', 'd', 'e'], ['commit', 'f']);
  await ours('g');
  await theirs(['abort', 'h']);
  const { values, batches } = await consumed();
  expect(values).toEqual(['a', 'b', 'c', 'f', 'g']);
  expect(await read()).toEqual(values);
  expect(batches.reduce((next, { from, following }) => (from === next ? following : Number.NaN), 0)).toBe(await end());
});

test('it begins and goes on at any offset, in the middle of a transaction as well', async () => {
  await theirs(['abort', 'a', 'b'], ['commit', 'c', 'd'], ['abort', 'e'], ['commit', 'f']);
  await ours('g');
  const expected = ['c', 'd', 'f', 'g'];
  // a b ✗ c d ✓ e ✗ f ✓ g
  const leftAt = [4, 4, 4, 4, 3, 2, 2, 2, 2, 1, 1];
  expect(await end()).toBe(leftAt.length);
  for (const [from, left] of leftAt.entries()) expect([from, ...(await read(from))]).toEqual([from, ...expected.slice(expected.length - left)]);
  for (const from of [1, 4, 5, 8]) expect([from, ...(await consumed(from)).values]).toEqual([from, ...expected.slice(expected.length - (leftAt[from] as number))]);
});

test('a topic that ends with a transaction that was given up is read to its end', async () => {
  await theirs(['abort', 'a']);
  expect((await consumed()).values).toEqual([]);
  expect(await read()).toEqual([]);
  expect(await end()).toBe(2);
});

test('two applications whose transactions lie between each other are kept apart', async () => {
  const many = (name: string): [end: 'commit' | 'abort', ...values: string[]][] => Array.from({ length: 12 }, (_, i) => [i % 3 === 0 ? 'commit' : 'abort', `${name}${i}`, `${name}${i}'`]);
  await Promise.all([theirs(...many('x')), theirs(...many('y')), ours('o1').then(() => ours('o2'))]);
  const { values } = await consumed();
  expect(values.toSorted()).toEqual(['o1', 'o2', ...['x', 'y'].flatMap((name) => [0, 3, 6, 9].flatMap((i) => [`${name}${i}`, `${name}${i}'`]))].toSorted());
  expect(await read()).toEqual(values);
});

describe('a transaction that stays open', () => {
  test.for(['commit', 'abort'] as const)('is reported once with its place and what ends it, and the rest comes by itself after its %s', async (last) => {
    await ours('a');
    const finish = await openTransaction(topic.name, [{ key: 'k', value: 'b' }]);
    await ours('c');
    const values: string[] = [];
    const reported: string[] = [];
    const [isReported, isDone] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const consumer = await createConsumer(client, { groupId: uniqueName('group'), topics: [topic.name], maxWaitMs: 20, heldMs: 100 });
    await consumer.run({
      onAssigned: async (assigned) => assigned.map((one) => ({ ...one, offset: 0 })),
      onRevoked: async () => undefined,
      onBatch: async ({ messages }) => {
        values.push(...messages.map(({ value }) => String(value)));
        if (values.at(-1) === 'c') isDone.resolve();
      },
      onUnreadable: (place, error) => {
        reported.push(`${place.partition} ${error.code} ${error.message}`);
        isReported.resolve();
      },
      onFatal: isReported.reject,
    });
    try {
      await isReported.promise;
      expect(values).toEqual(['a']);
      await finish(last);
      await isDone.promise;
      expect(values).toEqual(last === 'commit' ? ['a', 'b', 'c'] : ['a', 'c']);
      expect(reported).toEqual([expect.stringMatching(new RegExp(`^0 TRANSACTION_OPEN ${topic.name}/0 .* at offset 1: .* --topic ${topic.name} --partition 0 --start-offset 1$`))]);
    } finally {
      await consumer.close();
    }
  });
});
