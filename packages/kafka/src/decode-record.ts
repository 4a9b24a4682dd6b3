import { Cursor } from './varint.ts';

/** What a record needs to know of its batch. Times are epoch milliseconds. */
export type BatchContext = {
  readonly firstOffset: number;
  readonly firstTimestampMs: number;
  /** When the broker appended the batch, where the topic keeps that instead of the producer's times. */
  readonly appendedMs: number | undefined;
  readonly isControlBatch: boolean;
  /** The id of the producer whose transaction it is part of. */
  readonly transactionOf: string | undefined;
};

/**
 * A record of a batch (message format 2) whose parts are read when they are needed: whatever is built for each record lives until all of a fetch is
 * decoded, to be copied by each collection until then. Offsets are numbers: they stay below 2^53 for a long while.
 * @see Kafka documentation, "Implementation: record"
 */
export class DecodedRecord {
  readonly offset: number;
  readonly #buffer: Buffer;
  readonly #context: BatchContext;
  readonly #timestampDelta: number;
  readonly #keyAt: number;

  /** @param at where the record begins, behind its length. */
  constructor(buffer: Buffer, at: number, context: BatchContext) {
    const cursor = new Cursor(buffer, at + 1);
    this.#buffer = buffer;
    this.#context = context;
    this.#timestampDelta = cursor.varint();
    this.offset = context.firstOffset + cursor.varint();
    this.#keyAt = cursor.at;
  }

  /** Whether it marks the end of a transaction, and is no message. */
  get isControlRecord(): boolean {
    return this.#context.isControlBatch;
  }

  /** The id of the producer whose transaction it is part of; undefined for what was written without one. */
  get transactionOf(): string | undefined {
    return this.#context.transactionOf;
  }

  /** Epoch milliseconds, as the producer or the broker stamped it. */
  get timestampMs(): number {
    return this.#context.appendedMs ?? this.#context.firstTimestampMs + this.#timestampDelta;
  }

  get key(): Buffer | null {
    return new Cursor(this.#buffer, this.#keyAt).bytes();
  }

  get value(): Buffer | null {
    return this.#afterKey().bytes();
  }

  /** The first header of this name, which is of ASCII. */
  header(name: string): Buffer | undefined {
    const cursor = this.#afterKey().skip();
    for (let left = cursor.varint(); left > 0; left -= 1) {
      if (cursor.skipsName(name)) return cursor.bytes() ?? undefined;
      cursor.skip();
    }
    return undefined;
  }

  #afterKey(): Cursor {
    return new Cursor(this.#buffer, this.#keyAt).skip();
  }
}
