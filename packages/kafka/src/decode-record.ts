import { Cursor } from './varint.ts';

/** What kafkajs knows of the batch a record came in. Offset and times are decimal texts. */
export type BatchContext = { readonly firstOffset: string; readonly firstTimestamp: string; readonly maxTimestamp: string; readonly timestampType: number; readonly isControlBatch: boolean };

const LOG_APPEND_TIME = 1;

/**
 * One record of a Kafka record batch (message format 2). kafkajs builds an object of the headers, one copy for each header, and
 * counts with BigInt; and whatever it builds lives until all of a fetch is decoded, to be copied by each collection until then.
 * @see Kafka documentation, "Implementation: record batch"
 */
export const decodeRecord = ({ buffer }: { readonly buffer: Buffer }, context: BatchContext): DecodedRecord => new DecodedRecord(buffer, context);

/** A record whose parts are read when they are asked for. Offsets are numbers: they stay below 2^53 for a long while. */
export class DecodedRecord {
  readonly offset: number;
  /** What kafkajs sorts out by itself. */
  readonly isControlRecord: boolean;
  readonly #buffer: Buffer;
  readonly #context: BatchContext;
  readonly #timestampDelta: number;
  readonly #keyAt: number;

  constructor(buffer: Buffer, context: BatchContext) {
    const cursor = new Cursor(buffer, 1);
    this.#buffer = buffer;
    this.#context = context;
    this.#timestampDelta = cursor.varint();
    this.offset = Number(context.firstOffset) + cursor.varint();
    this.#keyAt = cursor.at;
    this.isControlRecord = context.isControlBatch;
  }

  /** Epoch milliseconds, as the producer or the broker stamped it. */
  get timestampMs(): number {
    const { timestampType, maxTimestamp, firstTimestamp } = this.#context;
    return timestampType === LOG_APPEND_TIME ? Number(maxTimestamp) : Number(firstTimestamp) + this.#timestampDelta;
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
