import type { AbortedTransaction } from './aborted.ts';
import { decodeBatches, type FetchedRecords } from './record-batches.ts';

/** As much of kafkajs's decoder as is needed. */
type Decoder = { readInt32(): number; canReadBytes(count: number): boolean; readBytes(count: number): Buffer };

/** A partition in kafkajs's answer to a fetch. */
export type FetchedPartition = {
  readonly partition: number;
  errorCode: number;
  readonly highWatermark: string;
  readonly lastStableOffset: string;
  readonly abortedTransactions?: readonly AbortedTransaction[] | null;
  messages: FetchedRecords;
  /** Whether the whole answer had no bytes: while it has, a partition may have none because there was no room. */
  isOfEmptyAnswer?: boolean;
};

type FetchResponse = { readonly responses: readonly { readonly partitions: readonly FetchedPartition[] }[] };
/** A response module of kafkajs. */
export type ResponseModule = { readonly decode: unknown; readonly parse: (data: FetchResponse) => Promise<FetchResponse> };

const CORRUPT_MESSAGE = 2;
const NOTHING: FetchedRecords = { records: [], bytes: 0 };

/** The records of one partition in the answer to a fetch. */
export async function decodeMessages(decoder: Decoder): Promise<FetchedRecords> {
  const size = decoder.readInt32();
  return size > 0 && decoder.canReadBytes(size) ? await decodeBatches(decoder.readBytes(size)) : NOTHING;
}

/**
 * kafkajs fails a whole fetch for an error of one partition. What a broker could not read itself is a fault of its partition, like what we cannot
 * read; the others of the answer go on.
 */
export const partitionsApart = ({ decode, parse }: ResponseModule): ResponseModule => ({
  decode,
  parse: (data) => {
    const partitions = data.responses.flatMap((response) => response.partitions);
    const isEmpty = partitions.every(({ messages }) => messages.bytes === 0);
    for (const partition of partitions) {
      partition.isOfEmptyAnswer = isEmpty;
      if (partition.errorCode !== CORRUPT_MESSAGE) continue;
      partition.errorCode = 0;
      partition.messages = { ...NOTHING, fault: 'the broker finds a record batch corrupt (CORRUPT_MESSAGE)' };
    }
    return parse(data);
  },
});
