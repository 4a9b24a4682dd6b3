import { createTestTopic, type SegmentFile, segmentFile, testKafkaBrokers, type TestTopic, uniqueName } from '@lockstep/local-stack';
import { createLogger } from '@lockstep/telemetry';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { type Admin, createAdmin } from './admin.ts';
import { createKafka, type KafkaClient } from './client.ts';
import { type Consumer, createConsumer } from './consumer.ts';
import type { KafkaError } from './errors.ts';
import { createProducer, type Producer } from './producer.ts';
import { readLog } from './read-log.ts';

const log = createLogger({ app: 'test', level: 'silent', isPretty: false });
/** In the second batch of a partition each: a byte that the CRC covers, and those it does not, wherever the broker itself stumbles over them. */
const damages: readonly { readonly what: string; readonly at: number }[] = [
  { what: 'first offset', at: 0 },
  { what: 'first offset, by one', at: 7 },
  { what: 'length, larger than the log', at: 8 },
  { what: 'length, by one', at: 11 },
  { what: 'format', at: 16 },
  { what: 'CRC', at: 17 },
  { what: 'attributes', at: 22 },
  { what: 'compressed records', at: 300 },
];
const HEALTHY = damages.length;
const partitions = [...damages.keys(), HEALTHY];
const PER_BATCH = 40;

let client: KafkaClient;
let producer: Producer;
let admin: Admin;
let topic: TestTopic;
let files: SegmentFile[];

beforeAll(async () => {
  client = createKafka({ config: { brokers: testKafkaBrokers(), ssl: false, sasl: undefined }, clientId: 'test', log });
  [producer, admin] = await Promise.all([createProducer(client), createAdmin(client)]);
  topic = await createTestTopic({ partitions: partitions.length });
  // Long and various enough to be compressed, and not to nothing.
  const text = (n: number): string => Array.from({ length: 20 }, (_, i) => Math.sin(n * 31 + i).toString(36)).join('');
  for (let batch = 0; batch < 3; batch += 1) {
    await producer.send(topic.name, partitions.flatMap((partition) => Array.from({ length: PER_BATCH }, (_, n) => ({ key: 'k', value: text(n), partition }))));
  }
  const found = await Promise.all(partitions.map((partition) => segmentFile(topic.name, partition)));
  files = found.filter((file) => file !== undefined);
});
afterAll(async () => {
  await Promise.all([producer.close(), admin.close()]);
  await topic.drop();
});

type Reading = { consumer: Consumer; counts: number[]; unreadable: Map<number, KafkaError>; until: (isDone: () => boolean) => Promise<void> };

async function read(offsets: (partition: number) => number): Promise<Reading> {
  const consumer = await createConsumer(client, { groupId: uniqueName('group'), topics: [topic.name], maxWaitMs: 50 });
  const counts = partitions.map(() => 0);
  const unreadable = new Map<number, KafkaError>();
  let changed = (): void => undefined;
  await consumer.run({
    onAssigned: async (assigned) => assigned.map((one) => ({ ...one, offset: offsets(one.partition) + (counts[one.partition] as number) })),
    onRevoked: async () => undefined,
    onBatch: async ({ partition, messages }) => {
      counts[partition] = (counts[partition] ?? 0) + messages.length;
      changed();
    },
    onUnreadable: ({ partition }, error) => {
      unreadable.set(partition, error);
      changed();
    },
    onFatal: (error) => {
      throw error;
    },
  });
  const until = async (isDone: () => boolean): Promise<void> => {
    while (!isDone()) {
      await new Promise<void>((resolve) => {
        changed = resolve;
      });
    }
  };
  return { consumer, counts, unreadable, until };
}

/** How many messages a reading of a partition hands on, and how it ends. */
async function readParts(partition: number, end: number): Promise<readonly [count: number, code: string]> {
  let count = 0;
  const onMessages = async (_: number, messages: readonly unknown[]): Promise<void> => {
    count += messages.length;
  };
  const code = await readLog(client, topic.name, [{ partition, end }], { onMessages, onPartitionEnd: async () => undefined }).then(() => 'read', (error: KafkaError) => error.code);
  return [count, code];
}

/** Flips the byte of each damage in the second batch of its partition; a second time restores it. */
const damage = async (secondBatches: readonly number[]): Promise<void> => {
  for (const [partition, { at }] of damages.entries()) await files[partition]?.flip((secondBatches[partition] as number) + at);
};

describe('a flipped byte in the log', () => {
  test('stops its partition before the batch, the others go on; and it goes on once the byte is right', async ({ skip }) => {
    skip(files.length === 0, "the broker's disk is out of reach: in a container, or on another machine");
    const secondBatches = await Promise.all(files.map(async (file) => (await file.batches())[1] as number));
    // A producer that tries again may have written a batch twice.
    const ends = (await admin.topicOffsets(topic.name)).map(({ high }) => high);
    const end = ends[HEALTHY] as number;
    await damage(secondBatches);
    for (const partition of damages.keys()) expect([partition, ...(await readParts(partition, ends[partition] as number))]).toEqual([partition, PER_BATCH, 'LOG_CORRUPT']);
    const { consumer, counts, unreadable, until } = await read(() => 0);
    await until(() => unreadable.size === damages.length && (counts[HEALTHY] as number) >= end);
    expect(counts).toEqual([...damages.map(() => PER_BATCH), end]);
    expect([...unreadable].toSorted(([a], [b]) => a - b).map(([partition, { code }]) => [damages[partition]?.what, code])).toEqual(damages.map(({ what }) => [what, 'LOG_CORRUPT']));
    await producer.send(topic.name, [{ key: 'k', value: 'later', partition: HEALTHY }]);
    await until(() => (counts[HEALTHY] as number) > end);
    await damage(secondBatches);
    await until(() => damages.every((_, partition) => (counts[partition] as number) >= (ends[partition] as number)));
    await consumer.close();
    expect(counts.slice(0, HEALTHY)).toEqual(ends.slice(0, HEALTHY));
  });
});

describe('a log that no longer holds the next offset', () => {
  test('stops its partition, whether it was cut in front of it or behind it', async () => {
    await producer.send(topic.name, [{ key: 'k', value: 'there', partition: HEALTHY }]);
    const raw = client.kafka.admin();
    await raw.connect();
    await raw.fetchTopicOffsets(topic.name); // without its metadata kafkajs does not know the leaders
    await raw.deleteTopicRecords({ topic: topic.name, partitions: [{ partition: 0, offset: '2' }] });
    await raw.disconnect();
    const end = (await admin.topicOffsets(topic.name))[1]?.high as number;
    const { consumer, counts, unreadable, until } = await read((partition) => (partition === 1 ? end + 5 : 0));
    await until(() => unreadable.size === 2 && (counts[HEALTHY] as number) > 3 * PER_BATCH);
    await consumer.close();
    expect([unreadable.get(0)?.code, unreadable.get(1)?.code, counts[0], counts[1]]).toEqual(['OFFSETS_LOST', 'OFFSETS_LOST', 0, 0]);
  });
});
