import { setTimeout as delay } from 'node:timers/promises';

import type { Admin as KafkaJsAdmin } from 'kafkajs';

import type { KafkaClient } from './client.ts';
import { KafkaError } from './errors.ts';
import { reached } from './producer.ts';
import { topicIdReader } from './topic-id.ts';

/** The offsets of a partition: the first one that is still there, and the one the next message will get. */
export type PartitionOffsets = { readonly partition: number; readonly low: number; readonly high: number };

/** A topic to be there. */
export type TopicSpec = { readonly topic: string; readonly partitions: number; readonly config?: Readonly<Record<string, string>> };

/** Asks about and creates topics. */
export type Admin = {
  /** Creates the topics that are missing; what exists is left as it is. Replication is 3, or the number of brokers if fewer. */
  ensureTopics(specs: readonly TopicSpec[]): Promise<void>;
  /** Deletes topics and all that is in them; for measurements and tests. */
  deleteTopics(topics: readonly string[]): Promise<void>;
  partitionsOf(topic: string): Promise<number>;
  topicOffsets(topic: string): Promise<PartitionOffsets[]>;
  /** Of each partition the offset of the first message that was appended at this time or later, epoch milliseconds; its end where there is none. */
  offsetsAt(topic: string, ms: number): Promise<ReadonlyMap<number, number>>;
  /** Messages of a topic that a consumer group has not committed yet. */
  groupLag(groupId: string, topic: string): Promise<number>;
  /** The id that Kafka gave the topic when it was created: a re-created topic of the same name has another. */
  topicId(topic: string): Promise<string>;
  /**
   * Refuses a topic that cannot be the whole history: compacted, of limited time or size, or without its first offsets; and, unless a single replica is
   * allowed, one that a broken disk could take away.
   * @throws {KafkaError} `TOPIC_MISSING`, `TOPIC_COMPACTED`, `TOPIC_EXPIRES`, `TOPIC_TRUNCATED`, `TOPIC_UNSAFE`
   */
  checkLogTopic(topic: string, options?: { readonly allowSingleReplica?: boolean }): Promise<void>;
  close(): Promise<void>;
};

const TIMEOUT_MS = 15_000;
const CREATED_WITHIN_MS = 30_000;
const TOPIC = 2;

/** Connects an admin. */
export async function createAdmin(client: KafkaClient): Promise<Admin> {
  const connected = await Reconnecting.to(client);
  const ids = topicIdReader(client.kafka);
  const topicOffsets = async (topic: string): Promise<PartitionOffsets[]> => {
    const offsets = await connected.ask((admin) => admin.fetchTopicOffsets(topic));
    return offsets.map(({ partition, low, high }) => ({ partition, low: Number(low), high: Number(high) })).toSorted((a, b) => a.partition - b.partition);
  };
  return {
    ensureTopics: (specs) => connected.ask((admin) => ensureTopics(admin, specs), 60_000),
    deleteTopics: (topics) => connected.ask((admin) => admin.deleteTopics({ topics: [...topics] }), 60_000),
    partitionsOf: async (topic) => (await connected.ask((admin) => metadataOf(admin, topic))).partitions.length,
    topicOffsets,
    offsetsAt: async (topic, ms) => new Map((await connected.ask((admin) => admin.fetchTopicOffsetsByTimestamp(topic, ms))).map(({ partition, offset }) => [partition, Number(offset)])),
    groupLag: async (groupId, topic) => {
      const [[committed], ends] = await Promise.all([connected.ask((admin) => admin.fetchOffsets({ groupId, topics: [topic] })), topicOffsets(topic)]);
      const next = new Map(committed?.partitions.map(({ partition, offset }) => [partition, Number(offset)]));
      return ends.reduce((lag, { partition, low, high }) => lag + high - Math.max(low, next.get(partition) ?? low), 0);
    },
    topicId: (topic) => reached(ids.read(topic), TIMEOUT_MS),
    checkLogTopic: async (topic, { allowSingleReplica = false } = {}) => {
      await connected.ask((admin) => checkConfig(admin, topic, allowSingleReplica));
      const cut = (await topicOffsets(topic)).find(({ low }) => low > 0);
      if (cut !== undefined) throw new KafkaError(`${topic} begins at offset ${cut.low} in partition ${cut.partition}: its history is not whole. Set retention.ms=-1; it cannot be rebuilt from here`, 'TOPIC_TRUNCATED');
    },
    close: async () => void (await Promise.all([connected.close(), ids.close()])),
  };
}

/**
 * kafkajs asks for every topic that it has ever met together, so one that was deleted fails the questions about all others. A new connection
 * knows of none.
 */
class Reconnecting {
  readonly #client: KafkaClient;
  #admin: KafkaJsAdmin;

  private constructor(client: KafkaClient, admin: KafkaJsAdmin) {
    this.#client = client;
    this.#admin = admin;
  }

  static to = async (client: KafkaClient): Promise<Reconnecting> => new Reconnecting(client, await connect(client));

  async ask<T>(question: (admin: KafkaJsAdmin) => Promise<T>, timeoutMs = TIMEOUT_MS): Promise<T> {
    const asked = this.#admin;
    try {
      return await reached(question(asked), timeoutMs);
    } catch (error) {
      if (!isOfUnknownTopic(error)) throw error;
      await this.#renew(asked);
      return await reached(question(this.#admin), timeoutMs);
    }
  }

  close(): Promise<void> {
    return this.#admin.disconnect();
  }

  async #renew(asked: KafkaJsAdmin): Promise<void> {
    const fresh = await connect(this.#client);
    // Another question may have been first.
    if (this.#admin !== asked) return await fresh.disconnect();
    this.#admin = fresh;
    await asked.disconnect();
  }
}

async function connect({ kafka }: KafkaClient): Promise<KafkaJsAdmin> {
  const admin = kafka.admin();
  await reached(admin.connect(), 30_000);
  return admin;
}

function isOfUnknownTopic(error: unknown): boolean {
  for (let one = error; one instanceof Error; one = one.cause) if ((one as { type?: string }).type === 'UNKNOWN_TOPIC_OR_PARTITION') return true;
  return false;
}

async function ensureTopics(admin: KafkaJsAdmin, specs: readonly TopicSpec[]): Promise<void> {
  const [existing, { brokers }] = await Promise.all([admin.listTopics(), admin.describeCluster()]);
  const missing = specs.filter(({ topic }) => !existing.includes(topic));
  if (missing.length === 0) return;
  const replicationFactor = Math.min(3, brokers.length);
  await admin.createTopics({
    waitForLeaders: false,
    topics: missing.map(({ topic, partitions, config = {} }) => ({
      topic,
      numPartitions: partitions,
      replicationFactor,
      configEntries: Object.entries({ ...(replicationFactor === 3 ? { 'min.insync.replicas': '2' } : {}), ...config }).map(([name, value]) => ({ name, value })),
    })),
  });
  await haveLeaders(admin, missing.map(({ topic }) => topic));
}

/** After tries of its own, kafkajs names the last refusal as the cause. */
type Refusal = Error & { readonly type?: string; readonly cause?: { readonly type?: string } };
const isNotYetThere = /^(UNKNOWN_TOPIC_OR_PARTITION|LEADER_NOT_AVAILABLE)$/;

/** Waits until new topics have leaders. kafkajs gives up where a broker does not know the topic yet. */
async function haveLeaders(admin: KafkaJsAdmin, topics: string[]): Promise<void> {
  const sinceMs = performance.now();
  for (;;) {
    const found = await admin.fetchTopicMetadata({ topics }).catch((error: Refusal) => error);
    const isThere = !(found instanceof Error) && found.topics.every(({ partitions }) => partitions.every(({ leader }) => leader >= 0));
    if (isThere) return;
    const isComing = !(found instanceof Error) || isNotYetThere.test((found.cause?.type ?? found.type) ?? '');
    if (!isComing || performance.now() - sinceMs > CREATED_WITHIN_MS) throw found instanceof Error ? found : new KafkaError(`${topics.join(', ')}: created, but without leaders`, 'TOPIC_MISSING');
    await delay(50);
  }
}

async function metadataOf(admin: KafkaJsAdmin, topic: string) {
  const topics = await reached(admin.listTopics(), TIMEOUT_MS);
  if (!topics.includes(topic)) throw new KafkaError(`topic ${topic} does not exist; the ingress creates it when it starts`, 'TOPIC_MISSING');
  const { topics: [metadata] } = await reached(admin.fetchTopicMetadata({ topics: [topic] }), TIMEOUT_MS);
  if (metadata === undefined) throw new KafkaError(`topic ${topic} does not exist`, 'TOPIC_MISSING');
  return metadata;
}

async function checkConfig(admin: KafkaJsAdmin, topic: string, allowSingleReplica: boolean): Promise<void> {
  const { partitions } = await metadataOf(admin, topic);
  const { resources } = await reached(admin.describeConfigs({ includeSynonyms: false, resources: [{ type: TOPIC, name: topic }] }), TIMEOUT_MS);
  const config = new Map(resources[0]?.configEntries.map(({ configName, configValue }) => [configName, configValue]));
  if (config.get('cleanup.policy')?.includes('compact') === true) {
    throw new KafkaError(`${topic} is compacted: it keeps the last offset of a key, which need not be the newest version. Set cleanup.policy=delete`, 'TOPIC_COMPACTED');
  }
  const limit = ['retention.ms', 'retention.bytes'].find((name) => Number(config.get(name) ?? -1) >= 0);
  if (limit !== undefined) throw new KafkaError(`${topic} has ${limit}=${config.get(limit)}: its first messages will be deleted, and the log is the whole history. Set ${limit}=-1`, 'TOPIC_EXPIRES');
  if (allowSingleReplica) return;
  const replicas = Math.min(...partitions.map((partition) => partition.replicas.length));
  const insync = Number(config.get('min.insync.replicas') ?? 1);
  if (replicas < 3 || insync < 2) {
    throw new KafkaError(`${topic} has ${replicas} replicas and min.insync.replicas ${insync}; it takes 3 and 2 not to lose history. LOCKSTEP_LOCAL_STACK=1 accepts it`, 'TOPIC_UNSAFE');
  }
}
