import kafkajs from 'kafkajs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { withAdmin } from './kafka-admin.ts';
import { createTestTopic, testKafkaBrokers } from './test-topic.ts';
import type { TestTopic } from './test-topic.ts';
import { uniqueName } from './unique-name.ts';

let topic: TestTopic;

beforeAll(async () => {
  topic = await createTestTopic({ partitions: 2, configs: { 'retention.ms': '-1' } });
});

afterAll(() => topic.drop());

describe('a test topic', () => {
  test('has the requested partitions and settings', async () => {
    const described = await withAdmin(testKafkaBrokers(), async (admin) => ({
      metadata: await admin.fetchTopicMetadata({ topics: [topic.name] }),
      configs: await admin.describeConfigs({ includeSynonyms: false, resources: [{ type: kafkajs.ConfigResourceTypes.TOPIC, name: topic.name, configNames: ['retention.ms'] }] }),
    }));
    expect(described.metadata.topics[0]?.partitions).toHaveLength(2);
    expect(described.configs.resources[0]?.configEntries[0]?.configValue).toBe('-1');
  });

  test('can be written at once, in each of its partitions', async () => {
    const partitions = 100; // a broker takes a while to make so many
    const many = await createTestTopic({ partitions });
    const kafka = new kafkajs.Kafka({ brokers: testKafkaBrokers(), logLevel: kafkajs.logLevel.NOTHING });
    const producer = kafka.producer({ createPartitioner: kafkajs.Partitioners.DefaultPartitioner, retry: { retries: 0 } });
    await producer.connect();
    const written = await producer.send({ topic: many.name, acks: -1, messages: Array.from({ length: partitions }, (_, partition) => ({ partition, value: 'hello' })) });
    await producer.disconnect();
    await many.drop();
    expect(written).toHaveLength(partitions);
  });

  test('carries a message to a consumer group that joins at once', async () => {
    const kafka = new kafkajs.Kafka({ brokers: testKafkaBrokers(), logLevel: kafkajs.logLevel.NOTHING });
    const producer = kafka.producer({ createPartitioner: kafkajs.Partitioners.DefaultPartitioner });
    const consumer = kafka.consumer({ groupId: uniqueName('group') });
    await Promise.all([producer.connect(), consumer.connect()]);
    await consumer.subscribe({ topic: topic.name, fromBeginning: true });
    await producer.send({ topic: topic.name, acks: -1, messages: [{ key: '1', value: 'hello' }] });
    const received = new Promise((resolve) => {
      void consumer.run({ eachMessage: ({ message }) => Promise.resolve(resolve(message.value?.toString())) }); // fails with the test's time-out
    });
    await expect(received).resolves.toBe('hello');
    await Promise.all([producer.disconnect(), consumer.disconnect()]);
  });
});
