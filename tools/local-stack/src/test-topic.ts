import { LocalStackError } from './errors.ts';
import { withAdmin } from './kafka-admin.ts';
import { uniqueName } from './unique-name.ts';

/** A topic of a test's own. */
export type TestTopic = { name: string; drop(): Promise<void> };

/** What the topic is like; four partitions and the broker's settings by default. */
export type TestTopicOptions = { prefix?: string; partitions?: number; configs?: Readonly<Record<string, string>> };

/**
 * The brokers of the running test stack.
 * @throws {LocalStackError} `STACK_NOT_RUNNING` outside a test with a Kafka set-up.
 */
export function testKafkaBrokers(): string[] {
  const brokers = process.env['KAFKA_BROKERS'];
  if (!brokers) throw new LocalStackError('KAFKA_BROKERS is not set: this test needs the suffix .kafka.test.ts', { code: 'STACK_NOT_RUNNING' });
  return brokers.split(',').map((broker) => broker.trim());
}

/** Creates a topic with a fresh name; returns once its partitions have leaders. */
export async function createTestTopic({ prefix = 'test', partitions = 4, configs = {} }: TestTopicOptions = {}): Promise<TestTopic> {
  const topic = uniqueName(prefix);
  const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value }));
  await withAdmin(testKafkaBrokers(), (admin) => admin.createTopics({ waitForLeaders: true, topics: [{ topic, numPartitions: partitions, replicationFactor: 1, configEntries }] }));
  return { name: topic, drop: () => withAdmin(testKafkaBrokers(), (admin) => admin.deleteTopics({ topics: [topic] })) };
}
