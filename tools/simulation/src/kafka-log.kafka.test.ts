import { createAdmin, createConsumer, createKafka, createProducer } from '@lockstep/kafka';
import { createTestTopic, testKafkaBrokers, uniqueName } from '@lockstep/local-stack';
import { createLogger } from '@lockstep/telemetry';

import { describeLog, type LogEntry } from './contracts/log-contract.ts';

describeLog('Kafka', async () => {
  const topic = await createTestTopic({ partitions: 4 });
  const client = createKafka({ config: { brokers: testKafkaBrokers(), ssl: false, sasl: undefined }, clientId: 'test', log: createLogger({ app: 'test', level: 'silent', isPretty: false }) });
  const [producer, admin] = await Promise.all([createProducer(client), createAdmin(client)]);
  const entries: LogEntry[] = [];
  let changed = (): void => undefined;
  const consumer = await createConsumer(client, { groupId: uniqueName('contract'), topics: [topic.name], maxWaitMs: 50 });
  await consumer.run({
    onAssigned: async () => [],
    onRevoked: async () => undefined,
    onBatch: async ({ partition, messages }) => {
      entries.push(...messages.map(({ offset, key, value }) => ({ partition, offset, key: String(key), value: String(value) })));
      changed();
    },
    onUnreadable: (_, error) => {
      throw error;
    },
    onFatal: (error) => {
      throw error;
    },
  });
  return {
    topic: topic.name,
    producer,
    admin,
    entries: async (count) => {
      while (entries.length < count) {
        await new Promise<void>((resolve) => {
          changed = resolve;
        });
      }
      return entries;
    },
    close: async () => {
      await consumer.close();
      await Promise.all([producer.close(), admin.close()]);
      await topic.drop();
    },
  };
});
