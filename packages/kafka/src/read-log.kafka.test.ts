import { createTestTopic, testKafkaBrokers, type TestTopic } from '@lockstep/local-stack';
import { createLogger } from '@lockstep/telemetry';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { createKafka, type KafkaClient } from './client.ts';
import { createProducer, type Producer } from './producer.ts';
import { type PartitionSpan, readLog } from './read-log.ts';

const log = createLogger({ app: 'test', level: 'silent', isPretty: false });
/** Of each partition; in batches of 700, each more than one fetch brings. */
const MESSAGES = 2_100;

let client: KafkaClient;
let producer: Producer;
let topic: TestTopic;

const text = (n: number): string => Array.from({ length: 60 }, (_, i) => Math.sin(n * 61 + i).toString(36)).join('');

beforeAll(async () => {
  client = createKafka({ config: { brokers: testKafkaBrokers(), ssl: false, sasl: undefined }, clientId: 'test', log });
  [producer, topic] = await Promise.all([createProducer(client), createTestTopic({ partitions: 3 })]);
  for (let n = 0; n < MESSAGES; n += 700) {
    await producer.send(topic.name, [0, 1].flatMap((partition) => Array.from({ length: 700 }, (_, i) => ({ key: 'k', value: `${n + i} ${text(n + i)}`, partition }))));
  }
});
afterAll(async () => {
  await producer.close();
  await topic.drop();
});

/** What a reader is given: of each partition in turn the numbers of its messages, and its end. */
async function read(spans: readonly PartitionSpan[], name = topic.name): Promise<readonly (readonly [partition: number, what: readonly number[] | 'end'])[]> {
  const seen: [number, number[] | 'end'][] = [];
  await readLog(client, name, spans, {
    onMessages: async (partition, messages) => {
      const last = seen.at(-1);
      const numbers = messages.map(({ value }) => Number.parseInt(String(value), 10));
      if (last?.[0] === partition && last[1] !== 'end') last[1].push(...numbers);
      else seen.push([partition, numbers]);
    },
    onPartitionEnd: async (partition) => void seen.push([partition, 'end']),
  });
  return seen;
}

const from = (first: number, end: number): number[] => Array.from({ length: end - first }, (_, i) => first + i);

describe('a log', () => {
  test('is read partition by partition, each message once and in order', async () => {
    expect(await read([{ partition: 1, end: MESSAGES }, { partition: 0, end: MESSAGES }])).toEqual([[1, from(0, MESSAGES)], [1, 'end'], [0, from(0, MESSAGES)], [0, 'end']]);
  });

  test('is read in parts, also where they begin and end within a batch; several of one partition come in order', async () => {
    const spans = [{ partition: 0, from: 10, end: 12 }, { partition: 0, from: 690, end: 710 }, { partition: 0, from: 2_099, end: 2_100 }];
    expect(await read(spans)).toEqual([[0, from(10, 12)], [0, 'end'], [0, from(690, 710)], [0, 'end'], [0, [2_099]], [0, 'end']]);
  });

  test('of which nothing is wanted is not asked for', async () => {
    expect(await read([{ partition: 2, end: 0 }, { partition: 0, from: 5, end: 5 }], 'no.such.topic')).toEqual([[2, 'end'], [0, 'end']]);
  });

  test('is read without a consumer group', async () => {
    const admin = client.kafka.admin();
    await admin.connect();
    const groups = async (): Promise<string[]> => (await admin.listGroups()).groups.map(({ groupId }) => groupId).filter((id) => id.includes('reader'));
    let during: string[] | undefined;
    await readLog(client, topic.name, [{ partition: 0, end: MESSAGES }], {
      onMessages: async () => {
        during ??= await groups();
      },
      onPartitionEnd: async () => undefined,
    });
    await admin.disconnect();
    expect(during).toEqual([]);
  });
});

describe('refused is', () => {
  test('a topic that does not exist', async () => {
    await expect(read([{ partition: 0, end: 1 }], 'no.such.topic')).rejects.toMatchObject({ code: 'TOPIC_MISSING' });
  });

  test.each([
    ['an end that the log does not have', { partition: 2, end: 1 }],
    ['a beginning far behind the end', { partition: 0, from: 9_000, end: 9_001 }],
  ])('%s', async (_, span) => {
    await expect(read([span])).rejects.toMatchObject({ code: 'OFFSETS_LOST', message: expect.stringContaining(`/${span.partition}`) as unknown });
  });

  test('a beginning that was deleted', async () => {
    const cut = await createTestTopic({ partitions: 1 });
    await producer.send(cut.name, from(0, 5).map((n) => ({ key: 'k', value: String(n), partition: 0 })));
    const admin = client.kafka.admin();
    await admin.connect();
    await admin.fetchTopicOffsets(cut.name); // without its metadata kafkajs does not know the leaders
    await admin.deleteTopicRecords({ topic: cut.name, partitions: [{ partition: 0, offset: '2' }] });
    await expect(read([{ partition: 0, end: 5 }], cut.name)).rejects.toMatchObject({ code: 'OFFSETS_LOST' });
    expect(await read([{ partition: 0, from: 2, end: 5 }], cut.name)).toEqual([[0, [2, 3, 4]], [0, 'end']]);
    await admin.disconnect();
    await cut.drop();
  });

  test('nothing that the reader throws: it comes through, and the reading ends', async () => {
    const failing = { onMessages: () => Promise.reject(new Error('no room')), onPartitionEnd: async () => undefined };
    await expect(readLog(client, topic.name, [{ partition: 0, end: MESSAGES }], failing)).rejects.toThrow('no room');
  });
});
