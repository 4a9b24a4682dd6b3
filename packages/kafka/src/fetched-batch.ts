import { messagesAmong } from './aborted.ts';
import type { DecodedRecord } from './decode-record.ts';
import type { FetchedPartition } from './fetch-response.ts';

/**
 * What one fetch brought of a partition: takes the place of kafkajs's `Batch`, which counts with BigInt, and has no room for what is wrong. It is
 * only empty, and not handed on, when it has neither records nor a fault, and nothing holds it. It may have records and no message: those that end transactions, and those of
 * transactions that were given up.
 */
export class FetchedBatch {
  readonly topic: string;
  readonly partition: number;
  /** The offset that was requested: of the first message, or of what was passed over before it. */
  readonly fetchedOffset: number;
  readonly highWatermark: string;
  readonly messages: readonly DecodedRecord[];
  /** The offset to be fetched next: behind the last message, and behind what was passed over after it. */
  readonly following: number;
  /** The first offset that the broker sent: it may lie before the requested one, in the same batch. */
  readonly sentFrom: number | undefined;
  /** Why the log cannot be read on behind these messages. */
  readonly fault: string | undefined;
  /** Where an open transaction of another producer begins that keeps the log from going on here: at the fetched offset, or before it. */
  readonly heldAt: number | undefined;

  constructor(topic: string, fetchedOffset: string, fetched: FetchedPartition) {
    const { partition, highWatermark, abortedTransactions, messages: { records, following } } = fetched;
    this.topic = topic;
    this.partition = partition;
    this.fetchedOffset = Number(fetchedOffset);
    this.highWatermark = highWatermark;
    this.sentFrom = records[0]?.offset;
    const isElsewhere = (this.sentFrom ?? this.fetchedOffset) > this.fetchedOffset;
    this.following = isElsewhere || following === undefined ? this.fetchedOffset : Math.max(this.fetchedOffset, following);
    this.messages = this.following === this.fetchedOffset ? [] : startingAt(messagesAmong(records, abortedTransactions ?? []), this.fetchedOffset);
    this.fault = fetched.messages.fault ?? faultOf(fetched, this.fetchedOffset, this.following);
    const stable = Number(fetched.lastStableOffset);
    const isHeld = this.fault === undefined && this.following === this.fetchedOffset && stable >= 0 && stable <= this.fetchedOffset && Number(highWatermark) > this.fetchedOffset;
    this.heldAt = isHeld ? stable : undefined;
  }

  isEmpty(): boolean {
    return this.following === this.fetchedOffset && this.fault === undefined && this.heldAt === undefined;
  }

  /** Never so for kafkajs, which would pass over it without us. */
  isEmptyDueToFiltering(): boolean {
    return false;
  }

  firstOffset(): string | null {
    return this.following === this.fetchedOffset ? null : String(this.fetchedOffset);
  }

  /** The offset before the one to be fetched next. */
  lastOffset(): string {
    return String(this.following - 1);
  }

  /** Messages behind the last one of this batch. */
  offsetLag(): string {
    return String(Number(this.highWatermark) - this.following);
  }

  /** Messages behind the first one of this batch. */
  offsetLagLow(): string {
    return String(Number(this.highWatermark) - 1 - Number(this.firstOffset() ?? this.lastOffset()));
  }
}

/** A batch that begins before the requested offset comes whole. */
const startingAt = (messages: readonly DecodedRecord[], from: number): readonly DecodedRecord[] => ((messages[0]?.offset ?? from) >= from ? messages : messages.filter(({ offset }) => offset >= from));

/** What only the requested offset shows to be wrong: a batch that begins behind it, or ends before it, is not what was requested. */
function faultOf({ messages: { records }, lastStableOffset, isOfEmptyAnswer = false }: FetchedPartition, offset: number, following: number): string | undefined {
  if (following > offset) return undefined;
  if (records.length > 0) return `the broker sends offsets ${records[0]?.offset} to ${records.at(-1)?.offset} instead`;
  if (isOfEmptyAnswer && Number(lastStableOffset) > offset) return `the broker sends nothing, though its log goes on to ${Number(lastStableOffset) - 1}`;
  return undefined;
}
