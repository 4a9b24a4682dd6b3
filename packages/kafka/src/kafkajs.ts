/*
 * kafkajs 2.2.4, mended before it loads. It is sparsely maintained, so what must change is changed here, and the version is
 * checked:
 * - its request queue re-arms a timer of 1 ms for ever after the first answer (tulios/kafkajs#1751): 6.65 % of a core, idle;
 * - a partition that moves to a broker which has answered already is left out of the next attempt, and nobody is told (tulios/kafkajs#1798);
 * - its producer groups a batch by copying arrays, quadratically, and grows buffers record by record and field by field: it is given one
 *   message, whose value is a whole batch, packed (packed-messages.ts), and writes each request once (produce-request.ts);
 * - its consumer counts with BigInt, and copies a record's headers once for each of them;
 * - zstd, which it leaves to its users, comes from node:zlib at level 1.
 */
import { createRequire } from 'node:module';
import { dirname, sep } from 'node:path';
import { promisify } from 'node:util';
import { constants, zstdCompress, zstdCompressSync, zstdDecompress, zstdDecompressSync } from 'node:zlib';

import type * as KafkaJs from 'kafkajs';

import { decodeRecord } from './decode-record.ts';
import { KafkaError } from './errors.ts';
import type { PackedMessages, PackedPart } from './packed-messages.ts';
import { encodeFrame, encodeProduce, type ProduceRequest, type RequestHead } from './produce-request.ts';

const require = createRequire(import.meta.url);
const { version } = require('kafkajs/package.json') as { version: string };
if (version !== '2.2.4') throw new KafkaError(`kafkajs is ${version}; packages/kafka mends 2.2.4. Check each mend, then change this line`, 'KAFKAJS_VERSION');

/*
 * Whoever loaded it before us has modules that know each other; ours must know what is put in their place. From here on the process has one
 * kafkajs that produces, and it is ours: what others hold is good for asking, as the tests' stack does.
 */
const library = dirname(require.resolve('kafkajs/package.json')) + sep;
for (const path of Object.keys(require.cache)) if (path.startsWith(library)) delete require.cache[path];
replace('kafkajs/src/producer/groupMessagesPerPartition.js', groupMessagesPerPartition);
replace('kafkajs/src/protocol/requests/produce/v3/request.js', produceRequest);
replace('kafkajs/src/protocol/request.js', frame);
replace('kafkajs/src/protocol/recordBatch/record/v0/decoder.js', decodeRecord);
// Last, for it takes along what it is made of.
replace('kafkajs/src/producer/sendMessages.js', eachAttemptAnew(require('kafkajs/src/producer/sendMessages.js') as CreateSend));
mendRequestQueue();

/** The mended library. */
export const kafkajs = require('kafkajs') as typeof KafkaJs;

// A small batch takes less time than its way to another thread and back.
const ON_THE_SPOT_BYTES = 65_536;
const level = { params: { [constants.ZSTD_c_compressionLevel]: 1 } };
const inThread = { compress: promisify(zstdCompress), decompress: promisify(zstdDecompress) };

/*
 * zstd is given room for all of what comes out: it gets 16 KB at a time by default, and each time costs the main thread a tenth of a
 * millisecond. Events shrink to about a seventh; where it is less, it asks again. For the projector it is 42,000 records a second instead of 35,000
 * (first load, 2 cores, 2026-11-26).
 */
const zstd = {
  compress: async (bytes: Buffer): Promise<Buffer> => (bytes.length < ON_THE_SPOT_BYTES ? zstdCompressSync(bytes, level) : await inThread.compress(bytes, { ...level, chunkSize: Math.ceil(bytes.length / 4) })),
  decompress: async (bytes: Buffer): Promise<Buffer> => (bytes.length < ON_THE_SPOT_BYTES / 8 ? zstdDecompressSync(bytes) : await inThread.decompress(bytes, { chunkSize: Math.min(bytes.length * 8, MAX_CHUNK_BYTES) })),
};
const MAX_CHUNK_BYTES = 8_000_000;
const ZSTD: number = kafkajs.CompressionTypes.ZSTD;
kafkajs.CompressionCodecs[kafkajs.CompressionTypes.ZSTD] = () => ({ compress: ({ buffer }: Encoded) => zstd.compress(buffer), decompress: zstd.decompress });

/** As much of its encoder as kafkajs asks for. */
type Encoded = { readonly buffer: Buffer };

/** In the place of its produce request; versions 4 to 7 are made of it. */
function produceRequest(request: ProduceRequest) {
  const crc32c = require('kafkajs/src/protocol/recordBatch/crc32C/index.js') as (bytes: Buffer) => number;
  const compress = (type: number, bytes: Buffer): Promise<Buffer> | null => {
    if (type !== 0 && type !== ZSTD) throw new KafkaError(`compression ${type} is not one of ours: none, or zstd`, 'KAFKA_REFUSED');
    return type === 0 ? null : zstd.compress(bytes);
  };
  return {
    apiKey: 0,
    apiVersion: 3,
    apiName: 'Produce',
    expectResponse: () => request.acks !== 0,
    encode: async (): Promise<Encoded> => ({ buffer: await encodeProduce(request, { compress, crc32c }) }),
  };
}

type RequestToFrame = Pick<RequestHead, 'correlationId' | 'clientId'> & { readonly request: Pick<RequestHead, 'apiKey' | 'apiVersion'> & { readonly encode: () => Promise<Encoded> } };

async function frame({ request: { apiKey, apiVersion, encode }, correlationId, clientId }: RequestToFrame): Promise<Encoded> {
  const { buffer } = await encode();
  return { buffer: encodeFrame({ apiKey, apiVersion, correlationId, clientId }, buffer) };
}

/** Puts ours in the place of one of its modules; whoever requires it afterwards gets ours. */
function replace(path: string, exports: unknown): void {
  const resolved = require.resolve(path);
  require(resolved);
  const cached = require.cache[resolved];
  if (cached !== undefined) cached.exports = exports;
}

type Attempt = (bail: (error: Error) => void, retryCount: number, retryTime: number) => Promise<unknown>;
type CreateSend = (deps: { readonly retrier: (attempt: Attempt) => Promise<unknown> }) => (request: unknown) => Promise<unknown>;

/**
 * kafkajs keeps the answers of brokers from one attempt to the next, and asks none of them again: right for its partitions of then, not
 * for those that have come to it since. Here every attempt knows of no other; what is written twice, the fold does not mind.
 */
function eachAttemptAnew(createSend: CreateSend): CreateSend {
  return (deps) => (request) => deps.retrier((...attempted) => createSend({ ...deps, retrier: (attempt) => attempt(...attempted) })(request));
}

/** What kafkajs is given to send: one message, whose value is all of them. */
export type PackedRequest = readonly [{ readonly value: PackedMessages }];

function groupMessagesPerPartition({ partitionMetadata, messages: [all] }: { partitionMetadata: readonly unknown[]; messages: PackedRequest }): Record<number, PackedPart[]> {
  if (partitionMetadata.length === 0) return {};
  return Object.fromEntries([...all.value.parts(partitionMetadata.length)].map(([partition, part]) => [partition, [part]]));
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
