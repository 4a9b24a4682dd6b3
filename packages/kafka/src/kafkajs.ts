/*
 * kafkajs 2.2.4, mended before it loads. It is sparsely maintained, so what must change is changed here, and the version is
 * checked:
 * - its request queue re-arms a timer of 1 ms for ever after the first answer (tulios/kafkajs#1751): 6.65 % of a core, idle;
 * - its producer groups a batch by copying arrays, quadratically, and grows buffers field by field;
 * - its consumer counts with BigInt, and copies a record's headers once for each of them;
 * - zstd, which it leaves to its users, comes from node:zlib at level 1.
 */
import { createRequire } from 'node:module';
import { promisify } from 'node:util';
import { constants, zstdCompress, zstdCompressSync, zstdDecompress, zstdDecompressSync } from 'node:zlib';

import type * as KafkaJs from 'kafkajs';

import { decodeRecord } from './decode-record.ts';
import { encodeRecord } from './encode-record.ts';
import { KafkaError } from './errors.ts';

const require = createRequire(import.meta.url);
const { version } = require('kafkajs/package.json') as { version: string };
if (version !== '2.2.4') throw new KafkaError(`kafkajs is ${version}; packages/kafka mends 2.2.4. Check each mend, then change this line`, 'KAFKAJS_VERSION');

replace('kafkajs/src/producer/groupMessagesPerPartition.js', groupMessagesPerPartition);
replace('kafkajs/src/protocol/recordBatch/record/v0/index.js', encodeRecord);
replace('kafkajs/src/protocol/recordBatch/record/v0/decoder.js', decodeRecord);
mendRequestQueue();

/** The mended library. */
export const kafkajs = require('kafkajs') as typeof KafkaJs;

// A small batch takes less time than its way to another thread and back.
const ON_THE_SPOT_BYTES = 65_536;
const level = { params: { [constants.ZSTD_c_compressionLevel]: 1 } };
const compress = promisify(zstdCompress);
const decompress = promisify(zstdDecompress);
kafkajs.CompressionCodecs[kafkajs.CompressionTypes.ZSTD] = () => ({
  compress: async ({ buffer }: { buffer: Buffer }) => (buffer.length < ON_THE_SPOT_BYTES ? zstdCompressSync(buffer, level) : await compress(buffer, level)),
  decompress: async (buffer: Buffer) => (buffer.length < ON_THE_SPOT_BYTES / 8 ? zstdDecompressSync(buffer) : await decompress(buffer)),
});

/** Puts ours in the place of one of its modules; whoever requires it afterwards gets ours. */
function replace(path: string, exports: unknown): void {
  const resolved = require.resolve(path);
  require(resolved);
  const cached = require.cache[resolved];
  if (cached !== undefined) cached.exports = exports;
}

type Grouping<M> = { topic: string; partitionMetadata: readonly unknown[]; messages: readonly M[]; partitioner: (of: { topic: string; partitionMetadata: readonly unknown[]; message: M }) => number };

function groupMessagesPerPartition<M>({ topic, partitionMetadata, messages, partitioner }: Grouping<M>): Record<number, M[]> {
  const groups: Record<number, M[]> = {};
  if (partitionMetadata.length === 0) return groups;
  for (const message of messages) (groups[partitioner({ topic, partitionMetadata, message })] ??= []).push(message);
  return groups;
}

function mendRequestQueue(): void {
  type Queue = { pending: unknown[]; throttledUntil: number; scheduleCheckPendingRequests: (this: Queue) => void };
  const { prototype } = require('kafkajs/src/network/requestQueue/index.js') as { prototype: Queue };
  const schedule = prototype.scheduleCheckPendingRequests;
  prototype.scheduleCheckPendingRequests = function scheduleWhenNeeded(this: Queue): void {
    const now = Date.now();
    if (this.pending.length === 0 && this.throttledUntil <= now) return;
    // A throttle that has passed would give a negative delay.
    if (this.throttledUntil < now) this.throttledUntil = now;
    schedule.call(this);
  };
}
