import { createTestTopic, testKafkaBrokers, uniqueName } from '@lockstep/local-stack';
import { createLogger } from '@lockstep/telemetry';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { type Admin, createAdmin } from './admin.ts';
import { createKafka } from './client.ts';
import { createProducer, type Producer } from './producer.ts';

let producer: Producer;
let admin: Admin;

beforeAll(async () => {
  const log = createLogger({ app: 'test', level: 'silent', isPretty: false });
  const client = createKafka({ config: { brokers: testKafkaBrokers(), ssl: false, sasl: undefined }, clientId: 'test', log });
  [producer, admin] = await Promise.all([createProducer(client), createAdmin(client)]);
});
afterAll(() => Promise.all([producer.close(), admin.close()]));

const send = (topic: string, partition = 0): Promise<void> => producer.send(topic, [{ key: 'k', value: 'v', partition }], { timeoutMs: 20_000 });
const count = async (topic: string): Promise<number> => (await admin.topicOffsets(topic)).reduce((sum, { high }) => sum + high, 0);
const create = (topic: string): Promise<void> => admin.ensureTopics([{ topic, partitions: 1 }]);

test('what is sent to a topic that was deleted fails by itself, and goes on once the topic is there again', async () => {
  const [gone, other] = [uniqueName('gone'), await createTestTopic({ partitions: 1 })];
  await create(gone);
  await Promise.all([send(gone), send(other.name)]);
  await admin.deleteTopics([gone]);
  // Sends to the others go on while one fails again and again.
  const failing = send(gone).catch((error: unknown) => error);
  for (let n = 0; n < 20; n += 1) await send(other.name);
  expect(await failing).toMatchObject({ code: 'TOPIC_MISSING', message: expect.stringContaining(gone) as unknown });
  await send(other.name);
  expect(await count(other.name)).toBeGreaterThanOrEqual(22);
  await create(gone);
  await send(gone);
  expect(await count(gone)).toBe(1);
  await Promise.all([admin.deleteTopics([gone]), other.drop()]);
});

test('what is sent to a partition that does not exist is refused, and nothing of it is written', async () => {
  const topic = await createTestTopic({ partitions: 2 });
  await send(topic.name, 1);
  await expect(producer.send(topic.name, [{ key: 'k', value: 'v', partition: 0 }, { key: 'k', value: 'v', partition: 2 }], { timeoutMs: 20_000 })).rejects.toMatchObject({
    code: 'TOPIC_MISSING',
    message: `topic ${topic.name} has 2 partitions, and a message is for partition 2`,
  });
  expect(await count(topic.name)).toBe(1);
  await topic.drop();
});
