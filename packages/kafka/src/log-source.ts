import { setTimeout as delay } from 'node:timers/promises';

import type { KafkaClient } from './client.ts';
import { type Cluster, connectCluster } from './cluster.ts';
import { KafkaError, transactionOpen } from './errors.ts';
import type { FetchedPartition } from './fetch-response.ts';
import { FetchedBatch } from './fetched-batch.ts';
import { reached } from './producer.ts';

type Answer = { readonly responses: readonly { readonly partitions: readonly FetchedPartition[] }[] };

/** Compressed bytes a fetch: JSON unpacks to about seven times as much. */
const MAX_BYTES = 256 * 1024;
const MAX_WAIT_MS = 1_000;
const CONNECTED_WITHIN_MS = 30_000;
/** For so long a broker that is gone may come back, and an open transaction of another writer may end. */
const PATIENCE_MS = 60_000;
const [FIRST_PAUSE_MS, LONGEST_PAUSE_MS] = [200, 2_000];
/** A bit that was flipped on the way does not come back when it is read again. */
const MOST_READS = 3;

/** What the next attempt may bring, and what is thrown where it does not. */
type Missed = { readonly error: KafkaError; readonly isForGood: boolean };

/**
 * Fetches parts of a topic from the leaders of its partitions, without a consumer group: a group's first member waits three seconds by a broker's defaults,
 * and what reads a known part of a log needs no one to divide it.
 */
export class LogSource {
  readonly #cluster: Cluster;
  readonly #topic: string;
  readonly #closing = new AbortController();

  private constructor(cluster: Cluster, topic: string) {
    this.#cluster = cluster;
    this.#topic = topic;
  }

  /** @throws {KafkaError} `KAFKA_UNREACHABLE`; `TOPIC_MISSING`. */
  static async open({ kafka }: KafkaClient, topic: string): Promise<LogSource> {
    const cluster = await reached(connectCluster(kafka), CONNECTED_WITHIN_MS);
    try {
      await reached(cluster.addTargetTopic(topic), CONNECTED_WITHIN_MS);
    } catch (error) {
      await cluster.disconnect();
      const isMissing = /UNKNOWN_TOPIC_OR_PARTITION/.test(String((error as KafkaError & { readonly cause?: { readonly type?: string } }).cause?.type));
      throw isMissing ? new KafkaError(`topic ${topic} does not exist`, 'TOPIC_MISSING', { cause: error }) : error;
    }
    return new LogSource(cluster, topic);
  }

  close(): Promise<void> {
    this.#closing.abort();
    return this.#cluster.disconnect();
  }

  /**
   * The messages of a partition from an offset on, as many as one fetch brings.
   * @param isGoingOn whether the offset is where the last fetch ended: a record batch cannot begin before it then.
   * @throws {KafkaError} `LOG_CORRUPT`, `OFFSETS_LOST`; `KAFKA_UNREACHABLE` and `TRANSACTION_OPEN` after a minute.
   */
  async fetch(partition: number, offset: number, isGoingOn: boolean): Promise<FetchedBatch> {
    const since = performance.now();
    for (let [unread, pauseMs] = [0, FIRST_PAUSE_MS]; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
      const found = await this.#fetchOnce(partition, offset).catch((error: unknown) => this.#missed(error as Error, partition, offset));
      const missed = found instanceof FetchedBatch ? this.#lackOf(found, isGoingOn) : found;
      if (missed === null) return found as FetchedBatch;
      unread = missed.error.retryable ? 0 : unread + 1;
      if (missed.isForGood || unread === MOST_READS || performance.now() - since > PATIENCE_MS || this.#closing.signal.aborted) throw missed.error;
      await delay(pauseMs, undefined, { signal: this.#closing.signal });
      await this.#cluster.refreshMetadata().catch(() => undefined);
    }
  }

  async #fetchOnce(partition: number, offset: number): Promise<FetchedBatch> {
    const [leader] = Object.keys(this.#cluster.findLeaderForPartitions(this.#topic, [partition]));
    if (leader === undefined) throw new KafkaError(`${this.#topic} has no partition ${partition}`, 'TOPIC_MISSING');
    const broker = await this.#cluster.findBroker({ nodeId: leader });
    const topics = [{ topic: this.#topic, partitions: [{ partition, fetchOffset: String(offset), maxBytes: MAX_BYTES }] }];
    const { responses } = (await broker.fetch({ maxWaitTime: MAX_WAIT_MS, minBytes: 1, maxBytes: MAX_BYTES, topics })) as Answer;
    return new FetchedBatch(this.#topic, String(offset), responses[0]?.partitions[0] as FetchedPartition);
  }

  #missed(error: Error & { readonly type?: string }, partition: number, offset: number): Missed {
    if (error.type === 'OFFSET_OUT_OF_RANGE') return { error: new KafkaError(`${this.#topic}/${partition}: offset ${offset} is next, and the log does not have it: what lies there is lost`, 'OFFSETS_LOST', { cause: error }), isForGood: true };
    if (error instanceof KafkaError) return { error, isForGood: false };
    return { error: new KafkaError(`${this.#topic}/${partition} cannot be read at offset ${offset}: ${error.message}`, 'KAFKA_UNREACHABLE', { cause: error }), isForGood: false };
  }

  /** Why a batch is not what was asked for; null where it is. */
  #lackOf(batch: FetchedBatch, isGoingOn: boolean): Missed | null {
    const { partition, fetchedOffset, sentFrom = fetchedOffset } = batch;
    const place = `${this.#topic}/${partition} cannot be read at offset ${fetchedOffset}`;
    const fault = isGoingOn && sentFrom < fetchedOffset ? `a record batch begins at offset ${sentFrom}, and the one before it ends at ${fetchedOffset - 1}` : batch.fault;
    // What stands before the fault is handed on.
    if (fault !== undefined && (batch.following === fetchedOffset || fault !== batch.fault)) return { error: new KafkaError(`${place}: ${fault}`, 'LOG_CORRUPT'), isForGood: false };
    if (batch.following > fetchedOffset) return null;
    const isBehindEnd = Number(batch.highWatermark) <= fetchedOffset;
    if (isBehindEnd) return { error: new KafkaError(`${place}: the log ends at ${Number(batch.highWatermark) - 1}`, 'OFFSETS_LOST'), isForGood: false };
    return { error: transactionOpen(this.#topic, partition, batch.heldAt ?? fetchedOffset), isForGood: false };
  }
}
