import { createRequire } from 'node:module';

import type { FetchedPartition } from './fetch-response.ts';
import { FetchedBatch } from './fetched-batch.ts';
import { decodeBatches } from './record-batches.ts';

type Encoded = { readonly buffer: Buffer };
const require = createRequire(import.meta.url);
const encodeRecord = require('kafkajs/src/protocol/recordBatch/record/v0/index.js') as (record: object) => Encoded;
const { RecordBatch: encodeBatch } = require('kafkajs/src/protocol/recordBatch/v0/index.js') as { RecordBatch: (batch: object) => Promise<Encoded> };
const Long = require('kafkajs/src/utils/long.js') as { fromValue: (value: number) => unknown };

/** A batch as the library writes it, for tests; its values are `v` and the offset. */
export async function batchBytes(firstOffset: number, count: number, more: object = {}): Promise<Buffer> {
  const records = Array.from({ length: count }, (_, offsetDelta) => encodeRecord({ offsetDelta, timestampDelta: 0, key: 'k', value: `v${firstOffset + offsetDelta}`, headers: {} }));
  const { buffer } = await encodeBatch({ firstOffset: Long.fromValue(firstOffset), lastOffsetDelta: count - 1, firstTimestamp: 7, maxTimestamp: 7, records, ...more });
  return Buffer.from(buffer);
}

/** What a fetch brings of a partition whose log holds these bytes. */
export async function fetchedBatch(fetchedOffset: number, bytes: Buffer, more: Partial<FetchedPartition> = {}): Promise<FetchedBatch> {
  const messages = await decodeBatches(bytes);
  return new FetchedBatch('t', String(fetchedOffset), { partition: 0, errorCode: 0, highWatermark: '100', lastStableOffset: '100', messages, isOfEmptyAnswer: bytes.length === 0, ...more });
}

export const valuesOf = (records: Iterable<{ readonly value: Buffer | null }>): string[] => [...records].map(({ value }) => String(value));
