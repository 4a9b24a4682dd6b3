import type { DecodedRecord } from './decode-record.ts';
import type { FetchedPartition } from './fetch-response.ts';

/**
 * What one fetch brought of a partition: takes the place of kafkajs's `Batch`, which counts with BigInt, and has no room for what is wrong. It is
 * only empty, and not handed on, when it has neither messages nor a fault.
 */
export class FetchedBatch {
  readonly topic: string;
  readonly partition: number;
  /** The offset that was requested. */
  readonly fetchedOffset: number;
  readonly highWatermark: string;
  readonly messages: readonly DecodedRecord[];
  /** The first offset that the broker sent: it may lie before the requested one, in the same batch. */
  readonly sentFrom: number | undefined;
  /** Why the log cannot be read on behind these messages. */
  readonly fault: string | undefined;
  readonly #records: readonly DecodedRecord[];

  constructor(topic: string, fetchedOffset: string, fetched: FetchedPartition) {
    const { partition, highWatermark, messages: { records } } = fetched;
    this.topic = topic;
    this.partition = partition;
    this.fetchedOffset = Number(fetchedOffset);
    this.highWatermark = highWatermark;
    this.sentFrom = records[0]?.offset;
    this.#records = startingAt(records, this.fetchedOffset);
    this.messages = this.#records.some(({ isControlRecord }) => isControlRecord) ? this.#records.filter(({ isControlRecord }) => !isControlRecord) : this.#records;
    this.fault = fetched.messages.fault ?? faultOf(fetched, this.fetchedOffset, this.#records.length);
  }

  isEmpty(): boolean {
    return this.messages.length === 0 && this.fault === undefined;
  }

  /** Only what ends transactions came: there is nothing to hand on, and the offset moves. */
  isEmptyDueToFiltering(): boolean {
    return this.isEmpty() && this.#records.length > 0;
  }

  firstOffset(): string | null {
    return this.#records[0] === undefined ? null : String(this.#records[0].offset);
  }

  /** The offset before the one to be fetched next. */
  lastOffset(): string {
    return String(this.#records.at(-1)?.offset ?? this.fetchedOffset - 1);
  }

  /** Messages behind the last one of this batch. */
  offsetLag(): string {
    return String(Number(this.highWatermark) - 1 - Number(this.lastOffset()));
  }

  /** Messages behind the first one of this batch. */
  offsetLagLow(): string {
    return String(Number(this.highWatermark) - 1 - Number(this.firstOffset() ?? this.lastOffset()));
  }
}

/** A batch that begins before the offset comes whole; one that begins behind it is not what was requested. */
function startingAt(records: readonly DecodedRecord[], from: number): readonly DecodedRecord[] {
  const first = records[0]?.offset ?? from;
  if (first === from) return records;
  return first > from ? [] : records.filter(({ offset }) => offset >= from);
}

/** What only the requested offset shows to be wrong. */
function faultOf({ messages: { records }, abortedTransactions, lastStableOffset, isOfEmptyAnswer = false }: FetchedPartition, offset: number, found: number): string | undefined {
  if ((abortedTransactions?.length ?? 0) > 0) return 'it holds aborted transactions, and the log is not written in transactions';
  if (records.length > 0 && found === 0) return `the broker sends offsets ${records[0]?.offset} to ${records.at(-1)?.offset} instead`;
  if (isOfEmptyAnswer && records.length === 0 && Number(lastStableOffset) > offset) return `the broker sends nothing, though its log goes on to ${Number(lastStableOffset) - 1}`;
  return undefined;
}
