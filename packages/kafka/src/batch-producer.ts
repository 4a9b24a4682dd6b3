import { isTooLarge, MAX_MESSAGE_BYTES, sendDivided, type TooLarge } from './divided-send.ts';
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
  /**
   * Sends what is left and waits until everything added is acknowledged.
   * @returns messages that the log does not take, as each of them alone is larger than its limit. All others are in it.
   */
  flush(): Promise<readonly TooLarge[]>;
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

/** Beyond this the stream fails: it is the limit that is wrong, not single messages. */
const MOST_TOO_LARGE = 1_000;

/** 2 MB a request and three in flight took the same time, and more memory. */
export function createBatchProducer({ producer, topic, maxBatchBytes = 1_000_000, maxInFlight = 4, timeoutMs = 60_000 }: BatchProducerOptions): BatchProducer {
  // Those that are acknowledged are filled again.
  const free: PackedMessages[] = [];
  const emptyBatch = (): PackedMessages => free.pop() ?? new PackedMessages(maxBatchBytes + LAST_MESSAGE_BYTES);
  let batch = emptyBatch();
  let failure: { error: unknown } | undefined;
  const tooLarge: TooLarge[] = [];
  const inFlight = new Set<Promise<void>>();

  const sendBatch = (): void => {
    const full = batch;
    batch = emptyBatch();
    const sent: Promise<void> = send(full).finally(() => inFlight.delete(sent));
    inFlight.add(sent);
  };
  const send = async (full: PackedMessages): Promise<void> => {
    const isUsual = full.bytes <= maxBatchBytes + LAST_MESSAGE_BYTES;
    try {
      await sendOrDivide(full);
    } catch (error) {
      // What was given up on may still be sent, so it is not filled again.
      failure ??= { error };
      return;
    }
    full.clear();
    // One that had to grow would keep its room.
    if (isUsual) free.push(full);
  };
  const sendOrDivide = async (full: PackedMessages): Promise<void> => {
    try {
      await producer.send(topic, full, { timeoutMs });
    } catch (error) {
      if (!isTooLarge(error)) throw error;
      tooLarge.push(...(await sendDivided(producer, topic, [...full], { timeoutMs })));
      if (tooLarge.length > MOST_TOO_LARGE) throw error;
    }
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
      // A large one travels alone, so that it takes none beside it over the limit.
      if (message.value.length > LAST_MESSAGE_BYTES && batch.length > 0) sendBatch();
      if (message.value.length > MAX_MESSAGE_BYTES) {
        tooLarge.push({ key: String(message.key), bytes: message.value.length });
        return undefined;
      }
      batch.add(message);
      if (batch.bytes < maxBatchBytes) return undefined;
      sendBatch();
      return inFlight.size >= maxInFlight ? roomAgain() : undefined;
    },
    flush: async () => {
      if (batch.length > 0) sendBatch();
      await Promise.all(inFlight);
      check();
      return tooLarge;
    },
  };
}
