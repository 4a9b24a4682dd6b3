import type { Message, Producer as KafkaJsProducer } from 'kafkajs';

import type { KafkaClient } from './client.ts';
import { KafkaError } from './errors.ts';
import { kafkajs, type PackedRequest } from './kafkajs.ts';
import type { ProducedMessage } from './message.ts';
import { PackedMessages } from './packed-messages.ts';

/** Writes to the log. A promise that resolves means: every replica in sync has it. */
export type Producer = {
  /**
   * Sends messages of one topic together and waits for `acks=all`. Repeating it appends them again, which the fold does not mind.
   * @throws {KafkaError} `KAFKA_UNREACHABLE` when that took longer than `timeoutMs` (5 s), `KAFKA_REFUSED`, `TOPIC_MISSING`; sends to other topics go on.
   */
  send(topic: string, messages: Iterable<ProducedMessage>, options?: { readonly timeoutMs?: number }): Promise<void>;
  /** @throws {KafkaError} when no broker answers; for readiness checks. */
  ping(): Promise<void>;
  close(): Promise<void>;
};

/**
 * Connects a producer: `acks=all`, zstd. It is not an idempotent one: a duplicate is a no-op of the fold, while an idempotent
 * producer that gave up on a batch refuses the next ones.
 */
export async function createProducer({ kafka }: KafkaClient): Promise<Producer> {
  const producer = kafka.producer({
    // It warns unless it is given one; what is packed finds its partitions itself.
    createPartitioner: () => () => 0,
    allowAutoTopicCreation: false,
    retry: { initialRetryTime: 100, maxRetryTime: 1_000, retries: 8 },
  });
  const admin = kafka.admin({ retry: { retries: 0 } });
  await reached(producer.connect(), 30_000);
  await reached(admin.connect(), 30_000);
  return {
    send: (topic, messages, { timeoutMs = 5_000 } = {}) => reached(sendAll(producer, topic, messages), timeoutMs),
    ping: async () => void (await reached(admin.describeCluster(), 2_000)),
    close: async () => void (await Promise.all([producer.disconnect(), admin.disconnect()])),
  };
}

// A handful of hints is not worth compressing, neither here nor for those who read them.
const COMPRESS_FROM_BYTES = 4_096;

const sendAll = async (producer: KafkaJsProducer, topic: string, messages: Iterable<ProducedMessage>): Promise<void> => {
  const { ZSTD, None } = kafkajs.CompressionTypes;
  const value = PackedMessages.of(messages);
  if (value.length === 0) return;
  const request: PackedRequest = [{ value }];
  await producer.send({ topic, messages: request as unknown as Message[], acks: -1, compression: value.bytes < COMPRESS_FROM_BYTES ? None : ZSTD });
};

/** Waits no longer than this, and gives any failure its code. */
export async function reached<T>(work: Promise<T>, timeoutMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new KafkaError(`no answer from Kafka within ${timeoutMs} ms`, 'KAFKA_UNREACHABLE')), timeoutMs);
  });
  work.catch(() => undefined);
  try {
    return await Promise.race([work, late]);
  } catch (error) {
    throw kafkaError(error);
  } finally {
    clearTimeout(timer);
  }
}

function kafkaError(error: unknown): KafkaError {
  if (error instanceof KafkaError) return error;
  const isRetriable = error instanceof kafkajs.KafkaJSError && (error.retriable || /Connection|Timeout|NumberOfRetries|Broker|Metadata/.test(error.name));
  const message = error instanceof Error ? error.message : String(error);
  return new KafkaError(message, isRetriable ? 'KAFKA_UNREACHABLE' : 'KAFKA_REFUSED', { cause: error });
}
