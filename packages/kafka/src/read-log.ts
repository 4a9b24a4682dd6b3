import type { KafkaClient } from './client.ts';
import { type ConsumedBatch, type ConsumedMessage, createConsumer } from './consumer.ts';

/** A partition's messages before an offset, from the first one on or from another. Several of one partition come in order. */
export type PartitionSpan = { readonly partition: number; readonly from?: number; readonly end: number };

/** What is done with the messages, which come partition by partition, each in order. */
export type LogReader = {
  readonly onMessages: (partition: number, messages: readonly ConsumedMessage[]) => Promise<void>;
  readonly onPartitionEnd: (partition: number) => Promise<void>;
};

/**
 * Reads parts of a topic, one partition after the other, so that the reader has to keep one in memory only.
 * @throws {KafkaError} when no broker answers, or the log cannot be read on (`LOG_CORRUPT`, `OFFSETS_LOST`); what the reader throws.
 */
export async function readLog(kafka: KafkaClient, topic: string, spans: readonly PartitionSpan[], reader: LogReader): Promise<void> {
  const left = spans.filter(({ from = 0, end }) => end > from);
  for (const { partition } of spans.filter((span) => !left.includes(span))) await reader.onPartitionEnd(partition);
  if (left.length === 0) return;
  const consumer = await createConsumer(kafka, { groupId: `lockstep-reader-${crypto.randomUUID()}`, topics: [topic], maxBytesPerPartition: 256 * 1024 });
  const done = Promise.withResolvers<void>();
  let [current] = left;
  let following = current?.from ?? 0;
  // The next messages are fetched while these are taken; not where parts of one partition follow each other, for what is fetched then is of another part.
  const isAhead = new Set(left.map(({ partition }) => partition)).size === left.length;
  let working: Promise<void> = Promise.resolve();
  const goOn = async (): Promise<void> => {
    consumer.pause([{ topic, partition: (current as PartitionSpan).partition }]);
    await reader.onPartitionEnd((left.shift() as PartitionSpan).partition);
    [current] = left;
    following = current?.from ?? 0;
    if (current === undefined) return done.resolve();
    // What was fetched of it before it was paused was not taken.
    consumer.seek({ topic, partition: current.partition, offset: following });
    consumer.resume([{ topic, partition: current.partition }]);
  };
  try {
    await consumer.run({
      onAssigned: async (assigned) => {
        consumer.pause(assigned.filter(({ partition }) => partition !== current?.partition));
        return assigned.map((one) => ({ ...one, offset: one.partition === current?.partition ? following : 0 }));
      },
      onRevoked: async () => undefined,
      onFatal: done.reject,
      onUnreadable: ({ partition }, error) => {
        if (left.some((one) => one.partition === partition)) done.reject(error);
      },
      onBatch: async (batch) => {
        await working;
        working = take(batch);
        // Behind the end nothing is fetched: a broker waits for what has yet to be written.
        const isLast = (batch.messages.at(-1)?.offset ?? -1) + 1 >= (current?.end ?? 0);
        if (!isAhead || isLast) await working;
      },
    });
    await done.promise;
  } finally {
    await consumer.close();
  }

  async function take({ partition, messages }: ConsumedBatch): Promise<void> {
    if (partition !== current?.partition) return;
    const { end } = current;
    try {
      // What was fetched before a part of the same partition was passed over may still come.
      const wanted = messages.filter(({ offset }) => offset >= following && offset < end);
      if (wanted.length > 0) await reader.onMessages(partition, wanted);
      // What ends it may have no message of its own.
      following = Math.min(end, Math.max(following, (messages.at(-1)?.offset ?? -1) + 1));
      if (following === end) await goOn();
    } catch (error) {
      done.reject(error);
    }
  }
}
