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

/** 2 MB a request and three in flight took the same time, and more memory. */
export function createBatchProducer({ producer, topic, maxBatchBytes = 1_000_000, maxInFlight = 4, timeoutMs = 60_000 }: BatchProducerOptions): BatchProducer {
  const slabs = new Slabs(maxBatchBytes);
  let slab = slabs.take();
  let batch: ProducedMessage[] = [];
  let bytes = 0;
  let failure: { error: unknown } | undefined;
  const inFlight = new Set<Promise<void>>();

  const sendBatch = (): void => {
    const messages = batch;
    const filled = slab;
    batch = [];
    bytes = 0;
    slab = slabs.take();
    const sent: Promise<void> = producer
      .send(topic, messages, { timeoutMs })
      .then(
        () => slabs.giveBack(filled),
        // What was given up on may still be sent from it, so this slab is not used again.
        (error: unknown) => {
          failure ??= { error };
        },
      )
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
      batch.push({ ...message, value: slab.hold(message.value) });
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

/** Room for the values of one batch. */
class Slab {
  readonly #buffer: Buffer;
  #used = 0;

  constructor(bytes: number) {
    this.#buffer = Buffer.allocUnsafeSlow(bytes);
  }

  /** A text as bytes in the slab, or beside it where it is full. */
  hold(value: Buffer | string): Buffer {
    if (typeof value !== 'string') return value;
    // No character takes more than three bytes.
    if (value.length * 3 > this.#buffer.length - this.#used) return Buffer.from(value);
    const start = this.#used;
    this.#used += this.#buffer.write(value, start);
    return this.#buffer.subarray(start, this.#used);
  }

  clear(): this {
    this.#used = 0;
    return this;
  }
}

/**
 * Values wait as bytes outside V8's heap until they are acknowledged. As strings, some megabytes of them would be copied by
 * every collection of the young generation: a quarter of the ingress's time on a page of 200,000 rows.
 */
class Slabs {
  readonly #bytes: number;
  readonly #free: Slab[] = [];

  constructor(batchBytes: number) {
    // Batches are closed by the length of their texts, of which some characters take two or three bytes.
    this.#bytes = Math.ceil(batchBytes * 1.25);
  }

  take(): Slab {
    return this.#free.pop() ?? new Slab(this.#bytes);
  }

  giveBack(slab: Slab): void {
    this.#free.push(slab.clear());
  }
}
