import type { ProducedMessage } from './message.ts';
import { PackedMessages } from './packed-messages.ts';
import type { Producer } from './producer.ts';

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
  /** Bytes of keys, values and headers a request, before they are compressed. */
  readonly maxBatchBytes?: number;
  /** Requests in flight. */
  readonly maxInFlight?: number;
  readonly timeoutMs?: number;
};

/** Room for the message that fills a batch: a record of a CRM, with some to spare. */
const LAST_MESSAGE_BYTES = 65_536;

/** 2 MB a request and three in flight took the same time, and more memory. */
export function createBatchProducer({ producer, topic, maxBatchBytes = 1_000_000, maxInFlight = 4, timeoutMs = 60_000 }: BatchProducerOptions): BatchProducer {
  // Those that are acknowledged are filled again.
  const free: PackedMessages[] = [];
  const emptyBatch = (): PackedMessages => free.pop() ?? new PackedMessages(maxBatchBytes + LAST_MESSAGE_BYTES);
  let batch = emptyBatch();
  let failure: { error: unknown } | undefined;
  const inFlight = new Set<Promise<void>>();

  const sendBatch = (): void => {
    const full = batch;
    batch = emptyBatch();
    const sent: Promise<void> = send(full).finally(() => inFlight.delete(sent));
    inFlight.add(sent);
  };
  const send = async (full: PackedMessages): Promise<void> => {
    try {
      await producer.send(topic, full, { timeoutMs });
    } catch (error) {
      // What was given up on may still be sent, so it is not filled again.
      failure ??= { error };
      return;
    }
    full.clear();
    free.push(full);
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
      batch.add(message);
      if (batch.bytes < maxBatchBytes) return undefined;
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
