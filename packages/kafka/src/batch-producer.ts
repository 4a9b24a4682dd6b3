import type { ProducedMessage, Producer } from './producer.ts';

/** Sends a long stream of messages in batches, a few in flight, with a bound on the bytes that are out. */
export type BatchProducer = {
  /**
   * Takes a message. A promise is returned only when the bound is reached: wait for it before adding more. So a hot loop
   * does not wait for each row.
   * @throws what sending threw; it stays thrown.
   */
  add(message: ProducedMessage): Promise<void> | undefined;
  /** Sends what is left and waits until everything added is acknowledged. */
  flush(): Promise<void>;
};

export type BatchProducerOptions = {
  readonly producer: Pick<Producer, 'send'>;
  readonly topic: string;
  /** Bytes of keys, values and headers a request. */
  readonly maxBatchBytes?: number;
  /** Requests in flight. */
  readonly maxInFlight?: number;
  readonly timeoutMs?: number;
};

/** Measured best: 2 MB a request, 4 in flight. */
export function createBatchProducer({ producer, topic, maxBatchBytes = 1_000_000, maxInFlight = 4, timeoutMs = 60_000 }: BatchProducerOptions): BatchProducer {
  let batch: ProducedMessage[] = [];
  let bytes = 0;
  let failure: { error: unknown } | undefined;
  const inFlight = new Set<Promise<void>>();

  const sendBatch = (): void => {
    const messages = batch;
    batch = [];
    bytes = 0;
    const sent: Promise<void> = producer
      .send(topic, messages, { timeoutMs })
      .catch((error: unknown) => {
        failure ??= { error };
      })
      .finally(() => inFlight.delete(sent));
    inFlight.add(sent);
  };
  const check = (): void => {
    if (failure !== undefined) throw failure.error;
  };
  const roomAgain = async (): Promise<void> => {
    while (inFlight.size >= maxInFlight) await Promise.race(inFlight);
    check();
  };

  return {
    add: (message) => {
      check();
      batch.push(message);
      bytes += sizeOf(message);
      if (bytes < maxBatchBytes) return undefined;
      sendBatch();
      return inFlight.size >= maxInFlight ? roomAgain() : undefined;
    },
    flush: async () => {
      if (batch.length > 0) sendBatch();
      await Promise.all(inFlight);
      check();
    },
  };
}

// Lengths of strings, not of their bytes: a bound, not an account. Headers are small and alike.
const HEADERS_BYTES = 200;
const sizeOf = ({ key, value }: ProducedMessage): number => key.length + value.length + HEADERS_BYTES;
