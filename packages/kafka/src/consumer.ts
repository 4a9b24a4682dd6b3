import type { Consumer as KafkaJsConsumer } from 'kafkajs';

import type { KafkaClient } from './client.ts';
import type { DecodedRecord } from './decode-record.ts';
import { Delivery, type Delivered } from './delivery.ts';
import { KafkaError } from './errors.ts';
import { reached } from './producer.ts';

/** One partition of a topic. */
export type TopicPartition = { readonly topic: string; readonly partition: number };

/** A partition and the next offset to be read of it. */
export type Position = TopicPartition & { readonly offset: number };

/** What Kafka carried. Its parts are read on each access: read them once. */
export type ConsumedMessage = Pick<DecodedRecord, 'offset' | 'key' | 'value' | 'timestampMs' | 'header'>;

/**
 * Messages of one partition, in order. It speaks of the offsets from `from` to before `following`, which go without a gap from batch to batch: what is no
 * message of these, such as the end of a foreign transaction, is passed over. It may have none. `isLast`: nothing followed when it was fetched.
 */
export type ConsumedBatch = TopicPartition & { readonly from: number; readonly messages: readonly ConsumedMessage[]; readonly following: number; readonly isLast: boolean };

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
  /**
   * The log of a partition cannot be read on: nothing was skipped, and the others go on. `LOG_CORRUPT`: it is paused, read again from time to time, and
   * once that succeeds its next batch comes. `TRANSACTION_OPEN`: its next batch comes once that transaction has ended. `OFFSETS_LOST`: it stays paused
   * until it is assigned again.
   */
  readonly onUnreadable: (place: TopicPartition, error: KafkaError) => void;
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
  /** An open transaction of another producer that holds a partition for so long is reported; 20 s by default. */
  readonly heldMs?: number | undefined;
};

export type Consumer = {
  run(handlers: ConsumerHandlers): Promise<void>;
  /** Commits the group's offsets: a hint for tools, which have no positions of their own. */
  commit(positions: readonly Position[]): Promise<void>;
  /** Fetches the partition again from this offset. */
  seek(position: Position): void;
  pause(partitions: readonly TopicPartition[]): void;
  resume(partitions: readonly TopicPartition[]): void;
  /** Leaves the group, after the handler in hand has returned. */
  close(): Promise<void>;
};

const CHECK_MS = 5_000;

/** Connects a consumer of a group. Positions are the application's: nothing is committed but by `commit`. */
export async function createConsumer({ kafka, log }: KafkaClient, options: ConsumerOptions): Promise<Consumer> {
  const consumer = kafka.consumer({
    groupId: options.groupId,
    // The shortest that brokers allow: for so long the partitions of a member that was killed have no consumer.
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
  let delivery: Delivery | undefined;
  return {
    run: async (handlers) => {
      const running = new Delivery({ consumer, handlers, log, heldMs: options.heldMs });
      delivery = running;
      watch(consumer, options.stallMs ?? 60_000, handlers.onFatal, closing.signal);
      consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => running.assign(partitionsOf(payload.memberAssignment)));
      await consumer.run({
        autoCommit: false,
        eachBatchAutoResolve: true,
        partitionsConsumedConcurrently: 1,
        // kafkajs hands on the batch that we made.
        eachBatch: async (payload) => await running.deliver(payload as unknown as Delivered),
      });
    },
    commit: (positions) => reached(consumer.commitOffsets(positions.map(({ topic, partition, offset }) => ({ topic, partition, offset: String(offset) }))), 10_000),
    seek: (position) => delivery?.seek(position),
    pause: (partitions) => delivery?.pause(partitions),
    resume: (partitions) => delivery?.resume(partitions),
    close: async () => {
      closing.abort();
      delivery?.close();
      await consumer.disconnect();
    },
  };
}

const partitionsOf = (assignment: Readonly<Record<string, readonly number[]>>): TopicPartition[] =>
  Object.entries(assignment).flatMap(([topic, partitions]) => partitions.map((partition) => ({ topic, partition })));

/** kafkajs may stop without an error (tulios/kafkajs#659): a consumer that neither fetches nor sends heartbeats is reported. */
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
