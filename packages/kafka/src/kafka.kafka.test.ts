import { createTestTopic, testKafkaBrokers, type TestTopic, uniqueName } from '@lockstep/local-stack';
import { createLogger } from '@lockstep/telemetry';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { type Admin, createAdmin } from './admin.ts';
import { createBatchProducer } from './batch-producer.ts';
import { createKafka, type KafkaClient } from './client.ts';
import { type ConsumedBatch, type Consumer, createConsumer, type Position, type TopicPartition } from './consumer.ts';
import type { KafkaError } from './errors.ts';
import type { ProducedMessage } from './message.ts';
import { partitionOf } from './murmur2.ts';
import { createProducer, type Producer } from './producer.ts';

const log = createLogger({ app: 'test', level: 'silent', isPretty: false });
const clientFor = (brokers: readonly string[]): KafkaClient => createKafka({ config: { brokers, ssl: false, sasl: undefined }, clientId: 'test', log });

let client: KafkaClient;
let producer: Producer;
let admin: Admin;
let topic: TestTopic;
// kafkajs keeps asking for every topic it has ever met, so none may go while the clients live.
const created: TestTopic[] = [];

beforeAll(async () => {
  client = clientFor(testKafkaBrokers());
  [producer, admin] = await Promise.all([createProducer(client), createAdmin(client)]);
});

afterAll(async () => {
  await Promise.all([producer.close(), admin.close()]);
  await Promise.all(created.map((one) => one.drop()));
});

beforeEach(async () => {
  topic = await createTestTopic({ partitions: 4 });
  created.push(topic);
});

const messages = (count: number, from = 0): ProducedMessage[] =>
  Array.from({ length: count }, (_, i) => ({ key: `key-${from + i}`, value: JSON.stringify({ n: from + i, text: 'Écho 東京' }), headers: { ce_type: 'test' } }));

type Running = { consumer: Consumer; batches: ConsumedBatch[]; assignments: (readonly TopicPartition[])[]; revoked: TopicPartition[]; unreadable: (TopicPartition & { error: KafkaError })[]; until: (isDone: () => boolean) => Promise<void> };

/** A consumer that notes what it is given, and resolves what waits for it. */
async function consume({ groupId = uniqueName('group'), positions = () => [] }: { groupId?: string; positions?: (assigned: readonly TopicPartition[]) => Position[] } = {}): Promise<Running> {
  const consumer = await createConsumer(client, { groupId, topics: [topic.name], maxWaitMs: 50 });
  const running: Omit<Running, 'until'> = { consumer, batches: [], assignments: [], revoked: [], unreadable: [] };
  let changed = (): void => undefined;
  await consumer.run({
    onAssigned: (assigned) => {
      running.assignments.push(assigned);
      changed();
      return Promise.resolve(positions(assigned));
    },
    onRevoked: (partitions) => {
      running.revoked.push(...partitions);
      return Promise.resolve();
    },
    onBatch: (batch) => {
      running.batches.push(batch);
      changed();
      return Promise.resolve();
    },
    onUnreadable: (place, error) => {
      running.unreadable.push({ ...place, error });
      changed();
    },
    onFatal: (error) => {
      throw error;
    },
  });
  return {
    ...running,
    until: async (isDone) => {
      while (!isDone()) {
        await new Promise<void>((resolve) => {
          changed = resolve;
        });
      }
    },
  };
}

const inOrder = (a: string, b: string): number => (a < b ? -1 : 1);
const valuesOf = (batches: readonly ConsumedBatch[]): string[] => batches.flatMap((batch) => batch.messages.map(({ value }) => String(value)));

describe('producing and consuming', () => {
  test('brings every message to the partition of its key, unharmed', async () => {
    // One of them is longer than a whole batch.
    const sent = [...messages(5000), { ...messages(1, 5000)[0], value: '東'.repeat(30_000) } as ProducedMessage];
    const batched = createBatchProducer({ producer, topic: topic.name, maxBatchBytes: 20_000 });
    for (const message of sent) await batched.add(message);
    await batched.flush();
    const { consumer, batches, until } = await consume();
    await until(() => valuesOf(batches).length >= sent.length);
    await consumer.close();
    expect(valuesOf(batches).toSorted(inOrder)).toEqual(sent.map(({ value }) => String(value)).toSorted(inOrder));
    const strays = batches.flatMap(({ partition, messages: of }) => of.filter(({ key }) => partitionOf(key as Buffer, 4) !== partition));
    expect(strays).toEqual([]);
    expect(batches[0]?.messages[0]?.header('ce_type')?.toString()).toBe('test');
  });

  test('begins where the application says, not where the group stands', async () => {
    await producer.send(topic.name, messages(100).map((message) => ({ ...message, partition: 0 })));
    const { consumer, batches, until } = await consume({ positions: (assigned) => assigned.map((it) => ({ ...it, offset: it.partition === 0 ? 90 : 0 })) });
    await until(() => valuesOf(batches).length >= 10);
    await consumer.close();
    expect(batches.flatMap((batch) => batch.messages.map(({ offset }) => offset))).toEqual([90, 91, 92, 93, 94, 95, 96, 97, 98, 99]);
  });

  test('fetches again from a given offset', async () => {
    await producer.send(topic.name, messages(3).map((message) => ({ ...message, partition: 1 })));
    const { consumer, batches, until } = await consume();
    await until(() => valuesOf(batches).length >= 3);
    consumer.seek({ topic: topic.name, partition: 1, offset: 1 });
    await until(() => valuesOf(batches).length >= 5);
    await consumer.close();
    expect(batches.flatMap((batch) => batch.messages.map(({ offset }) => offset))).toEqual([0, 1, 2, 1, 2]);
  });

  test('a handler that fails gets its messages again', async () => {
    await producer.send(topic.name, messages(3).map((message) => ({ ...message, partition: 2 })));
    const consumer = await createConsumer(client, { groupId: uniqueName('group'), topics: [topic.name], maxWaitMs: 50 });
    const seen: number[][] = [];
    const again = Promise.withResolvers<void>();
    await consumer.run({
      onAssigned: () => Promise.resolve([]),
      onRevoked: () => Promise.resolve(),
      onFatal: again.reject,
      onUnreadable: (_, error) => again.reject(error),
      onBatch: ({ messages: batch }) => {
        seen.push(batch.map(({ offset }) => offset));
        if (seen.length === 1) return Promise.reject(new Error('not this time'));
        again.resolve();
        return Promise.resolve();
      },
    });
    await again.promise;
    await consumer.close();
    expect(seen).toEqual([[0, 1, 2], [0, 1, 2]]);
  });

  test('a consumer that gives no sign is reported', async () => {
    const consumer = await createConsumer(client, { groupId: uniqueName('group'), topics: [topic.name], stallMs: 0 });
    const error = await new Promise<KafkaError>((resolve, reject) => {
      consumer.run({ onAssigned: () => Promise.resolve([]), onRevoked: () => Promise.resolve(), onBatch: () => Promise.resolve(), onUnreadable: (_, error) => reject(error), onFatal: resolve }).catch(reject);
    });
    await consumer.close();
    expect(error).toMatchObject({ code: 'KAFKA_CONSUMER_STALLED' });
  });

  test('shares partitions with a second consumer, each going on at its positions', async () => {
    await producer.send(topic.name, messages(40));
    const groupId = uniqueName('group');
    const done = new Map<number, number>();
    const positions = (assigned: readonly TopicPartition[]): Position[] => assigned.map((it) => ({ ...it, offset: done.get(it.partition) ?? 0 }));
    const first = await consume({ groupId, positions });
    await first.until(() => valuesOf(first.batches).length >= 40);
    for (const { partition, messages: of } of first.batches) done.set(partition, (of.at(-1)?.offset ?? 0) + 1);
    const second = await consume({ groupId, positions });
    await second.until(() => second.assignments.some((assigned) => assigned.length > 0));
    await first.until(() => first.assignments.at(-1)?.length === 2);
    expect(first.revoked).toHaveLength(2);
    await producer.send(topic.name, messages(40, 40));
    const all = (): string[] => [...valuesOf(first.batches), ...valuesOf(second.batches)];
    await Promise.race([first.until(() => all().length >= 80), second.until(() => all().length >= 80)]);
    await Promise.all([first.consumer.close(), second.consumer.close()]);
    expect(new Set(all()).size).toBe(80);
    expect(all()).toHaveLength(80);
  });
});

describe('the batch producer', () => {
  test('keeps no more requests out than allowed, and asks to wait for room', async () => {
    const release: (() => void)[] = [];
    const send = (): Promise<void> => new Promise((resolve) => release.push(resolve));
    const batched = createBatchProducer({ producer: { send }, topic: 't', maxBatchBytes: 1, maxInFlight: 2 });
    expect(batched.add({ key: 'a', value: '1' })).toBeUndefined();
    const full = batched.add({ key: 'b', value: '2' });
    expect(full).toBeInstanceOf(Promise);
    expect(release).toHaveLength(2);
    release[0]?.();
    await full;
    release[1]?.();
    await batched.flush();
  });

  test('keeps throwing what sending threw', async () => {
    const batched = createBatchProducer({ producer: { send: () => Promise.reject(new Error('away')) }, topic: 't', maxBatchBytes: 1 });
    await batched.add({ key: 'a', value: '1' });
    await expect(batched.flush()).rejects.toThrow('away');
    expect(() => batched.add({ key: 'b', value: '2' })).toThrow('away');
  });
});

describe('the admin', () => {
  test('creates what is missing and leaves what is there', async () => {
    const spec = { topic: uniqueName('made'), partitions: 3, config: { 'retention.ms': '-1' } };
    await admin.ensureTopics([spec]);
    await admin.ensureTopics([{ ...spec, partitions: 5 }]);
    expect(await admin.partitionsOf(spec.topic)).toBe(3);
  });

  test('waits for a topic that a broker does not know yet', async () => {
    const refusals = ['UNKNOWN_TOPIC_OR_PARTITION', 'LEADER_NOT_AVAILABLE'];
    const hesitant = { ...client, kafka: Object.create(client.kafka, {
      admin: { value: () => {
        const raw = client.kafka.admin();
        return { ...raw, fetchTopicMetadata: async (asked?: { topics: string[] }) => {
          const type = refusals.shift();
          if (type !== undefined) throw Object.assign(new Error(type), { type });
          return raw.fetchTopicMetadata(asked);
        } };
      } },
    }) as KafkaClient['kafka'] };
    const other = await createAdmin(hesitant);
    const name = uniqueName('slow');
    await other.ensureTopics([{ topic: name, partitions: 2 }]);
    await other.close();
    expect([refusals, await admin.partitionsOf(name)]).toEqual([[], 2]);
  });

  test('reports first and next offsets', async () => {
    await producer.send(topic.name, messages(3).map((message) => ({ ...message, partition: 2 })));
    expect(await admin.topicOffsets(topic.name)).toEqual([0, 1, 2, 3].map((partition) => ({ partition, low: 0, high: partition === 2 ? 3 : 0 })));
  });

  test('knows a topic by its id, and a re-created one by another', async () => {
    const spec = { topic: uniqueName('again'), partitions: 1 };
    await admin.ensureTopics([spec]);
    const id = await admin.topicId(spec.topic);
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/);
    expect(await admin.topicId(spec.topic)).toBe(id);
    const raw = client.kafka.admin();
    await raw.connect();
    await raw.deleteTopics({ topics: [spec.topic] });
    await expect.poll(() => raw.listTopics()).not.toContain(spec.topic);
    await raw.disconnect();
    await admin.ensureTopics([spec]);
    expect(await admin.topicId(spec.topic)).not.toBe(id);
  });

  test('refuses a topic that cannot hold the whole history', async () => {
    const compacted = { topic: uniqueName('compacted'), partitions: 1, config: { 'cleanup.policy': 'compact' } };
    await admin.ensureTopics([compacted]);
    await expect(admin.checkLogTopic(compacted.topic, { allowSingleReplica: true })).rejects.toMatchObject({ code: 'TOPIC_COMPACTED' });
    for (const config of [{ 'retention.ms': '604800000' }, { 'retention.ms': '-1', 'retention.bytes': '1000000' }] as const) {
      const expiring = { topic: uniqueName('expiring'), partitions: 1, config };
      await admin.ensureTopics([expiring]);
      await expect(admin.checkLogTopic(expiring.topic, { allowSingleReplica: true })).rejects.toMatchObject({ code: 'TOPIC_EXPIRES', message: expect.stringMatching(/Set retention\.(ms|bytes)=-1/) as unknown });
    }
    await expect(admin.checkLogTopic(topic.name)).rejects.toMatchObject({ code: 'TOPIC_UNSAFE' });
    await expect(admin.checkLogTopic(uniqueName('none'))).rejects.toMatchObject({ code: 'TOPIC_MISSING' });
    await expect(admin.checkLogTopic(topic.name, { allowSingleReplica: true })).resolves.toBeUndefined();
    await producer.send(topic.name, messages(5).map((message) => ({ ...message, partition: 0 })));
    const raw = client.kafka.admin();
    await raw.connect();
    await raw.fetchTopicOffsets(topic.name); // without its metadata kafkajs does not know the leaders
    await raw.deleteTopicRecords({ topic: topic.name, partitions: [{ partition: 0, offset: '3' }] });
    await raw.disconnect();
    await expect(admin.checkLogTopic(topic.name, { allowSingleReplica: true })).rejects.toMatchObject({ code: 'TOPIC_TRUNCATED' });
  });
});

describe('a broker that is away', () => {
  test('is reported within the time given', async () => {
    const started = performance.now();
    await expect(createProducer(clientFor(['127.0.0.1:1']))).rejects.toMatchObject({ code: 'KAFKA_UNREACHABLE', retryable: true });
    expect(performance.now() - started).toBeLessThan(31_000);
  });

  test('a topic that is not there is refused, not created', async () => {
    await expect(producer.send(uniqueName('none'), messages(1), { timeoutMs: 3_000 })).rejects.toMatchObject({ name: 'KafkaError' });
  });
});
