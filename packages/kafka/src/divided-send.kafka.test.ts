import { randomBytes } from 'node:crypto';

import { createTestTopic, testKafkaBrokers, type TestTopic } from '@lockstep/local-stack';
import { createLogger } from '@lockstep/telemetry';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { type Admin, createAdmin } from './admin.ts';
import { createBatchProducer } from './batch-producer.ts';
import { createKafka } from './client.ts';
import { sendBounded } from './divided-send.ts';
import type { ProducedMessage } from './message.ts';
import { createProducer, type Producer } from './producer.ts';

const LIMIT = 100_000;
let producer: Producer;
let admin: Admin;
let topic: TestTopic;
/** The requests that were sent, whether they were refused or not: how many messages each had. */
let requests: number[];

beforeAll(async () => {
  topic = await createTestTopic({ partitions: 2, configs: { 'max.message.bytes': String(LIMIT) } });
  const client = createKafka({ config: { brokers: testKafkaBrokers(), ssl: false, sasl: undefined }, clientId: 'test', log: createLogger({ app: 'test', level: 'silent', isPretty: false }) });
  [producer, admin] = await Promise.all([createProducer(client), createAdmin(client)]);
});
afterAll(async () => {
  await Promise.all([producer.close(), admin.close()]);
  await topic.drop();
});

const counted = (): Pick<Producer, 'send'> => {
  requests = [];
  return {
    send: (name, messages, options) => {
      const all = [...messages];
      requests.push(all.length);
      return producer.send(name, all, options);
    },
  };
};
/** Of random text, which is not compressed to less than three quarters. */
const message = (key: string, bytes: number): ProducedMessage => ({ key, value: randomBytes(bytes).toString('base64').slice(0, bytes) });
const stored = async (): Promise<number> => (await admin.topicOffsets(topic.name)).reduce((sum, { high }) => sum + high, 0);

test('what fits no message of the topic is left out and named, and everything else is sent', async () => {
  const before = await stored();
  const messages = [message('a', 1_000), message('large', 3 * LIMIT), ...Array.from({ length: 20 }, (_, at) => message(`b${at}`, 1_000))];
  expect(await sendBounded(counted(), topic.name, messages)).toEqual([{ key: 'large', bytes: 3 * LIMIT + 'large'.length }]);
  expect(await stored()).toBeGreaterThanOrEqual(before + 21);
});

test('a text that is large but compresses well is sent as it is', async () => {
  expect(await sendBounded(counted(), topic.name, [{ key: 'repeated', value: 'again '.repeat(100_000) }])).toEqual([]);
});

test('many messages are sent in requests that each fit', async () => {
  const before = await stored();
  expect(await sendBounded(counted(), topic.name, Array.from({ length: 100 }, (_, at) => message(`c${at}`, 10_000)), { maxBatchBytes: 90_000 })).toEqual([]);
  expect([await stored(), Math.max(...requests)]).toEqual([before + 100, 8]);
});

test('a stream with one message that is too large ends with all others in the log, and names it', async () => {
  const before = await stored();
  const batches = createBatchProducer({ producer: counted(), topic: topic.name, maxBatchBytes: 50_000 });
  for (let at = 0; at < 100; at += 1) await batches.add(message(at === 50 ? 'too large' : `d${at}`, at === 50 ? 2 * LIMIT : 2_000));
  expect(await batches.flush()).toEqual([{ key: 'too large', bytes: 2 * LIMIT + 'too large'.length }]);
  expect(await stored()).toBe(before + 99);
});
