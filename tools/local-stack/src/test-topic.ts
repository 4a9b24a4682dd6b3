import { setTimeout as delay } from 'node:timers/promises';
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

const servedWithinMs = 30_000;

/** Creates a topic with a fresh name; returns once its partitions can be written and read. */
export async function createTestTopic({ prefix = 'test', partitions = 4, configs = {} }: TestTopicOptions = {}): Promise<TestTopic> {
  const topic = uniqueName(prefix);
  const configEntries = Object.entries({ 'retention.ms': '-1', ...configs }).map(([name, value]) => ({ name, value }));
  await withAdmin(testKafkaBrokers(), (admin) => admin.createTopics({ waitForLeaders: false, topics: [{ topic, numPartitions: partitions, replicationFactor: 1, configEntries }] }));
  await untilServed(topic);
  return { name: topic, drop: () => withAdmin(testKafkaBrokers(), (admin) => admin.deleteTopics({ topics: [topic] })) };
}

/**
 * A broker names itself as the leader of a partition before it has made it; what is sent to several is then refused for some, and the next attempt
 * writes the others twice. Only the leader itself knows a partition's offsets.
 */
async function untilServed(topic: string): Promise<void> {
  const deadline = performance.now() + servedWithinMs;
  for (;;) {
    try {
      await withAdmin(testKafkaBrokers(), (admin) => admin.fetchTopicOffsets(topic));
      return;
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await delay(20);
    }
  }
}
