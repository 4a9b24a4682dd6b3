/*
 * kafkajs 2.2.4, patched at load. It is sparsely maintained, so what must change is changed here, and the version is
 * checked:
 * - its request queue re-arms a timer of 1 ms forever after the first answer (tulios/kafkajs#1751): 6.65 % of a core, idle;
 * - a partition that moves to a broker which has answered already is left out of the next attempt, without an error (tulios/kafkajs#1798); so is one that
 *   does not exist; and a topic that was deleted fails what is sent to any other, for it asks for all that it ever knew together;
 * - its producer groups a batch by copying arrays, quadratically, and grows buffers record by record and field by field: it is given one
 *   message, whose value is a whole batch, packed (packed-messages.ts), and its request is ours (produce-request.ts, request-frame.ts);
 * - its consumer checks no batch's CRC, fails all partitions for what is wrong with one, and counts with BigInt: batches are decoded by
 *   record-batches.ts, and what a fetch brought of a partition is a FetchedBatch (fetched-batch.ts);
 * - it measures spans by the wall clock: set back, a throttle and the pause between two heartbeats would last until the time comes again;
 * - zstd, which it leaves to its users, comes from node:zlib (zstd.ts).
 */
import { createRequire } from 'node:module';
import { dirname, sep } from 'node:path';

import type * as KafkaJs from 'kafkajs';

import { KafkaError } from './errors.ts';
import { decodeMessages, partitionsApart, type ResponseModule } from './fetch-response.ts';
import { FetchedBatch } from './fetched-batch.ts';
import type { PackedMessages, PackedPart } from './packed-messages.ts';
import { produceRequest } from './produce-request.ts';
import { type Encoded, frameRequest } from './request-frame.ts';
import { compress, decompress } from './zstd.ts';

const require = createRequire(import.meta.url);
const { version } = require('kafkajs/package.json') as { version: string };
if (version !== '2.2.4') throw new KafkaError(`kafkajs is ${version}; packages/kafka patches 2.2.4. Check each patch, then change this line`, 'KAFKAJS_VERSION');

/*
 * What loaded it before us has modules that know each other; ours must know what is put in their place. From here on the process has one
 * kafkajs that produces, and it is ours: what others hold is good for asking, as the tests' stack does.
 */
const library = dirname(require.resolve('kafkajs/package.json')) + sep;
for (const path of Object.keys(require.cache)) if (path.startsWith(library)) delete require.cache[path];
replace('kafkajs/src/producer/groupMessagesPerPartition.js', groupMessagesPerPartition);
replace('kafkajs/src/protocol/requests/produce/v3/request.js', produceRequest);
replace('kafkajs/src/protocol/request.js', frameRequest);
replace('kafkajs/src/protocol/requests/fetch/v1/response.js', partitionsApart(require('kafkajs/src/protocol/requests/fetch/v1/response.js') as ResponseModule));
replace('kafkajs/src/protocol/requests/fetch/v4/decodeMessages.js', decodeMessages);
replace('kafkajs/src/consumer/batch.js', FetchedBatch);
// Last, for it takes along what it is made of.
replace('kafkajs/src/producer/sendMessages.js', eachAttemptAlone(require('kafkajs/src/producer/sendMessages.js') as CreateSend));
fixRequestQueue();
fixHeartbeat();

/** The patched library. */
export const kafkajs = require('kafkajs') as typeof KafkaJs;

kafkajs.CompressionCodecs[kafkajs.CompressionTypes.ZSTD] = () => ({ compress: ({ buffer }: Encoded) => compress(buffer), decompress });

/** Puts ours in the place of one of its modules; what requires it afterwards gets ours. */
function replace(path: string, exports: unknown): void {
  const resolved = require.resolve(path);
  require(resolved);
  const cached = require.cache[resolved];
  if (cached !== undefined) cached.exports = exports;
}

type Attempt = (bail: (error: Error) => void, retryCount: number, retryTime: number) => Promise<unknown>;
type SendDeps = { readonly retrier: (attempt: Attempt) => Promise<unknown>; readonly cluster: { readonly targetTopics: Set<string> } };
type SendRequest = { readonly topicMessages: readonly { readonly topic: string }[] };
type CreateSend = (deps: SendDeps) => (request: SendRequest) => Promise<unknown>;

const UNKNOWN = 'UNKNOWN_TOPIC_OR_PARTITION';
/** A topic that was just created is not known to each broker at once: it is given up after 0.1, 0.2, 0.4 and 0.8 s. */
const UNKNOWN_AT_MOST = 4;

/**
 * kafkajs keeps the answers of brokers from one attempt to the next, and asks none of them again: right for its partitions of then, not
 * for those that have come to it since. Here every attempt knows of no other; what is written twice, the fold does not mind. What is not there is no longer
 * asked for together with what is.
 */
function eachAttemptAlone(createSend: CreateSend): CreateSend {
  return (deps) => (request) =>
    deps.retrier(async (bail, retryCount, retryTime) => {
      try {
        return await createSend({ ...deps, retrier: (attempt) => attempt(bail, retryCount, retryTime) })(request);
      } catch (error) {
        if ((error as { type?: string }).type !== UNKNOWN) throw error;
        // Each attempt of each send names its own topics again.
        deps.cluster.targetTopics.clear();
        const topics = request.topicMessages.map(({ topic }) => topic).join(', ');
        const missing = error instanceof KafkaError ? error : new KafkaError(`topic ${topics} does not exist: create it, or start the ingress again, which does`, 'TOPIC_MISSING', { cause: error });
        if (retryCount >= UNKNOWN_AT_MOST) bail(missing);
        throw error;
      }
    });
}

/** One that does not exist; kafkajs takes it for a partition that it has not heard of yet. */
class UnknownPartition extends KafkaError {
  readonly type = UNKNOWN;
}

/** What kafkajs is given to send: one message, whose value is all of them. */
export type PackedRequest = readonly [{ readonly value: PackedMessages }];

type GroupRequest = { readonly topic: string; readonly partitionMetadata: readonly { readonly partitionId: number }[]; readonly messages: PackedRequest };

/** @throws {KafkaError} for a partition that does not exist: kafkajs would leave its messages out, and say that all were sent. */
function groupMessagesPerPartition({ topic, partitionMetadata, messages: [all] }: GroupRequest): Record<number, PackedPart[]> {
  if (partitionMetadata.length === 0) return {};
  const parts = [...all.value.parts(partitionMetadata.length)];
  const missing = parts.find(([partition]) => !partitionMetadata.some(({ partitionId }) => partitionId === partition));
  if (missing !== undefined) throw new UnknownPartition(`topic ${topic} has ${partitionMetadata.length} partitions, and a message is for partition ${missing[0]}`, 'TOPIC_MISSING');
  return Object.fromEntries(parts.map(([partition, part]) => [partition, [part]]));
}

/** A broker throttles for seconds. What seems to be throttled for longer was so before the clock was set back. */
const THROTTLED_AT_MOST_MS = 300_000;

function fixRequestQueue(): void {
  type Queue = { pending: unknown[]; throttledUntil: number; scheduleCheckPendingRequests: (this: Queue) => void };
  const { prototype } = require('kafkajs/src/network/requestQueue/index.js') as { prototype: Queue };
  const schedule = prototype.scheduleCheckPendingRequests;
  prototype.scheduleCheckPendingRequests = function scheduleWhenNeeded(this: Queue): void {
    const now = Date.now();
    if (this.throttledUntil > now + THROTTLED_AT_MOST_MS) this.throttledUntil = now;
    // With something pending, a throttle that has passed is no delay.
    if (this.pending.length === 0 && this.throttledUntil <= now) return;
    schedule.call(this);
  };
}

/** A heartbeat is due by the wall clock: set back by an hour, none would be sent for an hour, and the broker gives the partitions away. */
function fixHeartbeat(): void {
  type Group = { lastRequest: number; heartbeat: (this: Group, options: { interval: number }) => Promise<void> };
  const { prototype } = require('kafkajs/src/consumer/consumerGroup.js') as { prototype: Group };
  const { heartbeat } = prototype;
  prototype.heartbeat = async function heartbeatWhenDue(this: Group, options): Promise<void> {
    if (this.lastRequest > Date.now()) this.lastRequest = 0;
    await heartbeat.call(this, options);
  };
}
