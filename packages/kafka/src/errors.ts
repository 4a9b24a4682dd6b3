/**
 * A failure of the log.
 * - `KAFKA_UNREACHABLE`: no broker answered in time. Retryable; what was sent may or may not have arrived, and may be sent again.
 * - `KAFKA_REFUSED`: a broker refused the request; the cause says why. Not retryable as it is.
 * - `KAFKA_CONSUMER_STALLED`: a consumer neither fetched nor beat for too long. Restart the process.
 * - `KAFKA_CONSUMER_CRASHED`: a consumer ended and will not restart by itself. Restart the process.
 * - `TOPIC_MISSING`: the topic, or a partition of it, does not exist. Start the ingress, which creates topics, or create it.
 * - `TOPIC_COMPACTED`: the topic is compacted, so its history is not whole. Set cleanup.policy=delete; rebuild from a whole log.
 * - `TOPIC_EXPIRES`: the topic deletes messages after a time or above a size. Set retention.ms=-1 and retention.bytes=-1.
 * - `TOPIC_TRUNCATED`: the topic's first offsets are gone. Set retention.ms=-1; the history cannot be rebuilt from it.
 * - `TOPIC_UNSAFE`: fewer than 3 replicas, or min.insync.replicas under 2: one broken disk would lose history.
 * - `LOG_CORRUPT`: a partition cannot be read on: a record batch does not match its CRC-32C, or its head, compression or place is wrong, or the broker
 *   sends nothing where its log goes on. Nothing of the batch was handed on. Check the broker's disk and memory, and restore the partition from another
 *   replica (move the leadership; stop the broker, remove its copy, let it replicate). It is read again each minute: no restart is needed.
 * - `TRANSACTION_OPEN`: another producer has a transaction open in a partition, and brokers hand on nothing behind its first message until it ends or times
 *   out. Retryable. Let that producer end it, or end it by `kafka-transactions.sh … abort`; the message has the whole command.
 * - `OFFSETS_LOST`: a partition's log no longer holds the next offset, in front of it or behind it. Nothing was skipped. Rebuild from a whole log.
 * - `KAFKAJS_VERSION`: the installed kafkajs is not the one that is patched here.
 */
export class KafkaError extends Error {
  readonly code: KafkaErrorCode;
  readonly retryable: boolean;

  constructor(message: string, code: KafkaErrorCode, options?: ErrorOptions) {
    super(message, options);
    this.name = 'KafkaError';
    this.code = code;
    this.retryable = code === 'KAFKA_UNREACHABLE' || code === 'TRANSACTION_OPEN';
  }
}

export type KafkaErrorCode =
  | 'KAFKA_UNREACHABLE'
  | 'KAFKA_REFUSED'
  | 'KAFKA_CONSUMER_STALLED'
  | 'KAFKA_CONSUMER_CRASHED'
  | 'TOPIC_MISSING'
  | 'TOPIC_COMPACTED'
  | 'TOPIC_EXPIRES'
  | 'TOPIC_TRUNCATED'
  | 'TOPIC_UNSAFE'
  | 'LOG_CORRUPT'
  | 'TRANSACTION_OPEN'
  | 'OFFSETS_LOST'
  | 'KAFKAJS_VERSION';

/** Names the offset that a foreign transaction holds a partition at, which is where that transaction begins, and how to end it. */
export function transactionOpen(topic: string, partition: number, offset: number): KafkaError {
  const command = `kafka-transactions.sh --bootstrap-server <broker> abort --topic ${topic} --partition ${partition} --start-offset ${offset}`;
  const found = 'another producer has a transaction open there, and nothing behind it comes until that ends or times out';
  return new KafkaError(`${topic}/${partition} cannot be read on at offset ${offset}: ${found}. Let that producer end it, or end it by force: ${command}`, 'TRANSACTION_OPEN');
}
