import type { KafkaClient } from './client.ts';
import type { ConsumedMessage } from './consumer.ts';
import type { FetchedBatch } from './fetched-batch.ts';
import { LogSource } from './log-source.ts';

/** A partition's messages before an offset, from the first one on or from another. Several of one partition come in order. */
export type PartitionSpan = { readonly partition: number; readonly from?: number; readonly end: number };

/** What is done with the messages, which come partition by partition, each in order. */
export type LogReader = {
  readonly onMessages: (partition: number, messages: readonly ConsumedMessage[]) => Promise<void>;
  readonly onPartitionEnd: (partition: number) => Promise<void>;
};

/**
 * Reads parts of a topic, one partition after the other, so that the reader has to keep one in memory only. The next messages are fetched while these are taken.
 * A broker that is gone is waited for, up to a minute.
 * @throws {KafkaError} when no broker answers, or the log cannot be read on (`LOG_CORRUPT`, `OFFSETS_LOST`); what the reader throws.
 */
export async function readLog(kafka: KafkaClient, topic: string, spans: readonly PartitionSpan[], reader: LogReader): Promise<void> {
  const wanted = spans.filter(({ from = 0, end }) => end > from);
  for (const { partition } of spans.filter((span) => !wanted.includes(span))) await reader.onPartitionEnd(partition);
  if (wanted.length === 0) return;
  const source = await LogSource.open(kafka, topic);
  try {
    for (const span of wanted) await readSpan(source, span, reader);
  } finally {
    await source.close();
  }
}

async function readSpan(source: LogSource, { partition, from = 0, end }: PartitionSpan, { onMessages, onPartitionEnd }: LogReader): Promise<void> {
  let ahead = source.fetch(partition, from, false);
  for (let next = from; next < end; ) {
    const batch: FetchedBatch = await ahead;
    const messages = batch.messages.filter(({ offset }) => offset < end);
    // What ends the span may have no message of its own.
    next = batch.following;
    if (next < end) ahead = source.fetch(partition, next, true);
    // It is waited for later.
    ahead.catch(() => undefined);
    if (messages.length > 0) await onMessages(partition, messages);
  }
  await onPartitionEnd(partition);
}
