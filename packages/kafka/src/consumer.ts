import { setTimeout as sleep } from 'node:timers/promises';

import type { Consumer as KafkaJsConsumer, EachBatchPayload } from 'kafkajs';

import type { KafkaClient } from './client.ts';
import type { DecodedRecord } from './decode-record.ts';
import { KafkaError } from './errors.ts';
import { reached } from './producer.ts';

/** One partition of a topic. */
export type TopicPartition = { readonly topic: string; readonly partition: number };

/** A partition and the next offset to be read of it. */
export type Position = TopicPartition & { readonly offset: number };

/** What Kafka carried. Its parts are read when they are asked for: ask once. */
export type ConsumedMessage = Pick<DecodedRecord, 'offset' | 'key' | 'value' | 'timestampMs' | 'header'>;

/** Messages of one partition, in order. */
export type ConsumedBatch = TopicPartition & { readonly messages: readonly ConsumedMessage[] };

/** What the application decides. */
export type ConsumerHandlers = {
  /**
   * Partitions this process has from now on; called again after every rebalance, with those kept as well.
   * @returns where to begin each; a partition left out begins at the group's committed offset, or else at the first.
   */
  readonly onAssigned: (partitions: readonly TopicPartition[]) => Promise<readonly Position[]>;
  /** Partitions this process has no more: stop working on them. */
  readonly onRevoked: (partitions: readonly TopicPartition[]) => Promise<void>;
  /**
   * The next messages of a partition. kafkajs fetches again once this has returned for every batch of the last fetch: so
   * enqueue, and return; or take long to slow it down, while heartbeats go on. After a failure the same messages come again.
   */
  readonly onBatch: (batch: ConsumedBatch) => Promise<void>;
  /** The consumer will not go on by itself: restart the process. */
  readonly onFatal: (error: KafkaError) => void;
};

export type ConsumerOptions = {
  readonly groupId: string;
  readonly topics: readonly string[];
  /** Bytes a broker waits for before it answers a fetch; 1 answers at once. */
  readonly minBytes?: number;
  readonly maxWaitMs?: number;
  /** Compressed bytes of a partition a fetch: JSON unpacks to about seven times as much. */
  readonly maxBytesPerPartition?: number;
  /** Without a fetch or a heartbeat for so long the consumer counts as stalled. */
  readonly stallMs?: number;
};

export type Consumer = {
  run(handlers: ConsumerHandlers): Promise<void>;
  /** Commits the group's offsets: a hint for whoever has no positions of its own. */
  commit(positions: readonly Position[]): Promise<void>;
  /** Fetches the partition again from this offset. */
  seek(position: Position): void;
  pause(partitions: readonly TopicPartition[]): void;
  resume(partitions: readonly TopicPartition[]): void;
  /** Leaves the group, after the handler in hand has returned. */
  close(): Promise<void>;
};

const CHECK_MS = 5_000;
const BEAT_MS = 1_000;

/** Connects a consumer of a group. Positions are the application's: nothing is committed but by `commit`. */
export async function createConsumer({ kafka, log }: KafkaClient, options: ConsumerOptions): Promise<Consumer> {
  const consumer = kafka.consumer({
    groupId: options.groupId,
    // The shortest that brokers allow: for so long the partitions of a member that was killed have nobody.
    sessionTimeout: 6_000,
    rebalanceTimeout: 30_000,
    heartbeatInterval: 2_000,
    minBytes: options.minBytes ?? 1,
    maxWaitTimeInMs: options.maxWaitMs ?? 1_000,
    maxBytesPerPartition: options.maxBytesPerPartition ?? 512 * 1024,
    allowAutoTopicCreation: false,
    retry: { initialRetryTime: 100, maxRetryTime: 5_000, retries: 10, restartOnFailure: () => Promise.resolve(true) },
  });
  await reached(consumer.connect(), 30_000);
  await reached(consumer.subscribe({ topics: [...options.topics], fromBeginning: true }), 30_000);
  const closing = new AbortController();
  const expected = new Expected();
  const seek = ({ topic, partition, offset }: Position): void => {
    expected.set(topic, partition, offset);
    consumer.seek({ topic, partition, offset: String(offset) });
  };
  return {
    run: async (handlers) => {
      watch(consumer, options.stallMs ?? 60_000, handlers.onFatal, closing.signal);
      followAssignments(consumer, expected, handlers, seek, log);
      await consumer.run({
        autoCommit: false,
        eachBatchAutoResolve: true,
        partitionsConsumedConcurrently: 1,
        eachBatch: async (payload) => await deliver(payload, expected, seek, handlers),
      });
    },
    commit: (positions) => reached(consumer.commitOffsets(positions.map(({ topic, partition, offset }) => ({ topic, partition, offset: String(offset) }))), 10_000),
    seek,
    pause: (partitions) => consumer.pause(byTopic(partitions)),
    resume: (partitions) => consumer.resume(byTopic(partitions)),
    close: async () => {
      closing.abort();
      await consumer.disconnect();
    },
  };
}

/** The next offset of each partition in hand. A batch that begins elsewhere was fetched before a seek, or before a rebalance. */
class Expected {
  readonly #offsets = new Map<string, number | 'any'>();
  /** Settles once the positions of the present assignment are known. */
  ready: Promise<void> = Promise.resolve();

  get(topic: string, partition: number): number | 'any' | undefined {
    return this.#offsets.get(`${topic}/${partition}`);
  }

  set(topic: string, partition: number, offset: number | 'any'): void {
    this.#offsets.set(`${topic}/${partition}`, offset);
  }

  delete(topic: string, partition: number): void {
    this.#offsets.delete(`${topic}/${partition}`);
  }
}

async function deliver(payload: EachBatchPayload, expected: Expected, seek: (position: Position) => void, { onBatch }: ConsumerHandlers): Promise<void> {
  const { batch } = payload;
  const heartbeat = (): Promise<void> => payload.heartbeat();
  await beating(expected.ready, heartbeat);
  const { topic, partition } = batch;
  const next = expected.get(topic, partition);
  const first = Number(batch.firstOffset());
  // Not ours any more, or fetched before the position was known.
  if (next === undefined) return;
  if (next !== 'any' && first > next) {
    seek({ topic, partition, offset: next });
    return;
  }
  // kafkajs hands on what our decoder made.
  const decoded = batch.messages as unknown as DecodedRecord[];
  const messages = next === 'any' || first >= next ? decoded : decoded.filter(({ offset }) => offset >= next);
  const last = messages.at(-1);
  if (last === undefined) return;
  const following = last.offset + 1;
  expected.set(topic, partition, following);
  try {
    await beating(onBatch({ topic, partition, messages }), heartbeat);
  } catch (error) {
    // kafkajs brings the same batch again; unless a seek or a new assignment has decided otherwise, we want it.
    if (expected.get(topic, partition) === following) expected.set(topic, partition, next);
    throw error;
  }
}

/** Waits for the work while the group is told that we are alive. */
async function beating(work: Promise<void>, heartbeat: () => Promise<void>): Promise<void> {
  let isDone = false;
  const done = work.finally(() => {
    isDone = true;
  });
  for (;;) {
    const timer = new AbortController();
    await Promise.race([done, sleep(BEAT_MS, undefined, { signal: timer.signal }).catch(() => undefined)]);
    timer.abort();
    if (isDone) return await done;
    await heartbeat();
  }
}

/** kafkajs tells of a new assignment without waiting for us; batches wait until its positions are known. */
function followAssignments(consumer: KafkaJsConsumer, expected: Expected, handlers: ConsumerHandlers, seek: (position: Position) => void, log: KafkaClient['log']): void {
  let held: TopicPartition[] = [];
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    const assigned = Object.entries(payload.memberAssignment).flatMap(([topic, partitions]) => partitions.map((partition) => ({ topic, partition })));
    const isIn = (list: readonly TopicPartition[]) => (one: TopicPartition) => list.some((other) => other.topic === one.topic && other.partition === one.partition);
    const revoked = held.filter((one) => !isIn(assigned)(one));
    for (const { topic, partition } of held) expected.delete(topic, partition);
    held = assigned;
    expected.ready = (async () => {
      if (revoked.length > 0) await handlers.onRevoked(revoked);
      const positions = await handlers.onAssigned(assigned);
      for (const { topic, partition } of assigned) expected.set(topic, partition, 'any');
      for (const position of positions) seek(position);
    })();
    expected.ready.catch((error: unknown) => {
      log.error({ err: error }, 'an assignment could not be taken up');
      handlers.onFatal(new KafkaError('an assignment could not be taken up', 'KAFKA_CONSUMER_CRASHED', { cause: error }));
    });
  });
}

/** kafkajs may stop without an error (tulios/kafkajs#659): whoever neither fetches nor beats is reported. */
function watch(consumer: KafkaJsConsumer, stallMs: number, onFatal: (error: KafkaError) => void, signal: AbortSignal): void {
  let lastSign = performance.now();
  const alive = (): void => {
    lastSign = performance.now();
  };
  consumer.on(consumer.events.HEARTBEAT, alive);
  consumer.on(consumer.events.FETCH, alive);
  consumer.on(consumer.events.CRASH, ({ payload: { error, restart } }) => {
    if (!restart) onFatal(new KafkaError('a consumer crashed', 'KAFKA_CONSUMER_CRASHED', { cause: error }));
  });
  const timer = setInterval(() => {
    if (performance.now() - lastSign > stallMs) onFatal(new KafkaError(`a consumer gave no sign for ${stallMs} ms`, 'KAFKA_CONSUMER_STALLED'));
  }, CHECK_MS);
  timer.unref();
  signal.addEventListener('abort', () => clearInterval(timer));
}

const byTopic = (partitions: readonly TopicPartition[]): { topic: string; partitions: number[] }[] =>
  [...Map.groupBy(partitions, ({ topic }) => topic)].map(([topic, list]) => ({ topic, partitions: list.map(({ partition }) => partition) }));
