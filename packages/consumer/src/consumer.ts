import { setTimeout as sleep } from 'node:timers/promises';

import { type Admin, type ConsumedBatch as FetchedBatch, type Consumer as KafkaConsumer, createConsumer, type KafkaClient, KafkaError, type Position, type TopicPartition } from '@lockstep/kafka';
import { type ModuleDefinition, topicOf } from '@lockstep/modules';
import { type Database, isTransient } from '@lockstep/postgres';
import { loop, type Logger } from '@lockstep/telemetry';

import { type Applied, applyBatch } from './apply-batch.ts';
import { CoverageBook } from './coverage-book.ts';
import type { LogMessage } from './decode.ts';
import type { ConsumerDefinition } from './definition.ts';
import { ConsumerError } from './errors.ts';
import { InstanceLock } from './instance-lock.ts';
import type { ConsumerMetrics } from './metrics.ts';
import { loadPositions, type Topic } from './positions.ts';
import { createSchema, schemaOf } from './schema.ts';

export type ConsumerDeps = {
  readonly definition: ConsumerDefinition;
  readonly db: Database;
  readonly kafka: KafkaClient;
  readonly admin: Admin;
  readonly metrics: ConsumerMetrics;
  readonly log: Logger;
  readonly epsilonMs: number;
  readonly maxBatchMessages: number;
  readonly isLocalStack: boolean;
  /** What a consumer that starts for the first time begins with: `now` folds what the log holds already, without effects. */
  readonly startFrom: 'beginning' | 'now';
  readonly onFatal: (error: unknown) => void;
  /** Called after each commit that has made deliveries. */
  readonly onDeliveries?: () => void;
  readonly groupId?: string;
  /** An open transaction of another producer that holds a partition for so long is reported; 20 s by default. */
  readonly heldMs?: number;
  readonly topicOf?: (module: ModuleDefinition) => string;
};

type OpenTopic = Topic & { readonly module: ModuleDefinition; readonly coverages: CoverageBook };

/** A partition that this process consumes. */
type AssignedPartition = {
  readonly topic: OpenTopic;
  readonly partition: number;
  next: number;
  /** Set when it was handed over or halted; what is left of it is dropped. */
  isStopped: boolean;
  failures: number;
  retry?: NodeJS.Timeout | undefined;
  /** Batches are applied one after the other, also those that come while a former assignment still works. */
  tail: Promise<void>;
};

const COMMIT_EVERY_MS = 1_000;
const LOCK_EVERY_MS = 1_000;
const TOPIC_RETRY_MS = 500;
const FIRST_RETRY_MS = 100;
const MAX_TRANSIENT_RETRY_MS = 5_000;
const MAX_EFFECT_RETRY_MS = 60_000;

/** What a fetch brought of a partition; see `ConsumedBatch` of packages/kafka. */
type Fetched = { readonly from: number; readonly messages: readonly LogMessage[]; readonly following: number };

/**
 * Folds record topics and hands each change of a record's newest state to the application. Positions, registers and effects are moved by one
 * transaction in Postgres, so a rebalance, a crash or a lost answer changes nothing but who goes on.
 */
export class Consumer {
  readonly #deps: ConsumerDeps;
  readonly #schema: string;
  readonly #topics = new Map<string, OpenTopic>();
  readonly #assigned = new Map<string, AssignedPartition>();
  readonly #halted = new Map<string, unknown>();
  readonly #closing = new AbortController();
  readonly #lock: InstanceLock;
  #consumer: KafkaConsumer | undefined;
  #loops: Promise<unknown> = Promise.resolve();

  constructor(deps: ConsumerDeps) {
    this.#deps = deps;
    this.#schema = schemaOf(deps.definition.name);
    this.#lock = new InstanceLock(deps.db.pool, deps.definition.name);
  }

  /** Creates the consumer's schema, waits until its topics exist, joins the group and begins. @returns false where it was closed before. */
  async start(): Promise<boolean> {
    const { db, kafka, log, definition, onFatal } = this.#deps;
    const { signal } = this.#closing;
    await createSchema(db.pool, definition);
    await this.#lock.hold();
    for (const module of definition.modules) await this.#open(module);
    if (signal.aborted) return false;
    const consumer = await createConsumer(kafka, { groupId: this.#deps.groupId ?? `lockstep-consumer-${definition.name}`, topics: [...this.#topics.keys()], heldMs: this.#deps.heldMs });
    this.#consumer = consumer;
    await consumer.run({
      onAssigned: (partitions) => this.#assign(partitions),
      onRevoked: async (partitions) => {
        await Promise.all(partitions.map(({ topic, partition }) => this.#retire(topic, partition)));
      },
      onBatch: (batch) => this.#take(batch),
      onUnreadable: (place, error) => this.#cannotRead(place, error),
      onFatal,
    });
    this.#loops = Promise.all([
      loop({ name: 'commit of positions', everyMs: COMMIT_EVERY_MS, signal, log, body: () => this.#commit() }),
      loop({ name: 'instance lock', everyMs: LOCK_EVERY_MS, signal, log, body: () => this.#lock.hold() }),
    ]);
    return true;
  }

  /** @throws {Error} naming the partitions that do not go on, and why; for the readiness check. */
  check(): void {
    if (this.#consumer === undefined) throw new Error('the record topics do not exist yet: start the ingress');
    const [first] = this.#halted;
    if (first === undefined) return;
    const [partition, error] = first;
    throw new Error(`${this.#halted.size} partitions are halted, e.g. ${partition}: ${error instanceof Error ? error.message : String(error)}`);
  }

  /** Ends after the transactions that run. */
  async close(): Promise<void> {
    this.#closing.abort();
    const assigned = [...this.#assigned.values()];
    for (const { retry } of assigned) clearTimeout(retry);
    await this.#loops;
    await Promise.all(assigned.map(({ tail }) => tail));
    await this.#commit().catch(() => undefined);
    await this.#consumer?.close();
    await this.#lock.release();
  }

  /** The ingress creates the topics; whichever app is first waits for the other. */
  async #open(module: ModuleDefinition): Promise<void> {
    const { admin, isLocalStack, log } = this.#deps;
    const topic = (this.#deps.topicOf ?? topicOf)(module);
    const { signal } = this.#closing;
    for (let isReported = false; !signal.aborted; isReported = true) {
      try {
        await admin.checkLogTopic(topic, { allowSingleReplica: isLocalStack });
        this.#topics.set(topic, { topic, topicId: await admin.topicId(topic), module, coverages: new CoverageBook(this.#schema, module) });
        return;
      } catch (error) {
        if (!(error instanceof KafkaError) || (error.code !== 'TOPIC_MISSING' && !error.retryable)) throw error;
        if (!isReported) log.info({ reason: error.message }, 'waiting for the topics');
        await sleep(TOPIC_RETRY_MS, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  async #assign(partitions: readonly TopicPartition[]): Promise<readonly Position[]> {
    const positions: Position[] = [];
    for (const [name, list] of Map.groupBy(partitions, (one) => one.topic)) {
      const topic = this.#topics.get(name);
      if (topic !== undefined) positions.push(...(await this.#assignTopic(topic, list.map(({ partition }) => partition))));
    }
    this.#deps.log.info({ partitions: positions.length }, 'partitions assigned');
    return positions;
  }

  async #assignTopic(topic: OpenTopic, partitions: readonly number[]): Promise<Position[]> {
    const { admin, db, startFrom } = this.#deps;
    const offsets = new Map((await admin.topicOffsets(topic.topic)).map((one) => [one.partition, one]));
    const highOf = (partition: number): number => offsets.get(partition)?.high ?? 0;
    const former = partitions.map((partition) => this.#retire(topic.topic, partition));
    // What a former assignment is about to commit belongs to the position.
    await Promise.all(former);
    // Of all partitions at once: one that another process is slow to take, or that is added later, begins no later than the consumer did.
    const beginnings = [...offsets.keys()].map((partition) => ({ partition, effectsFrom: startFrom === 'now' ? highOf(partition) : 0 }));
    const next = await loadPositions(db.pool, this.#schema, topic, beginnings).catch((error: unknown) => {
      if (error instanceof ConsumerError) return error;
      throw error;
    });
    return partitions.map((partition) => {
      const offset = next instanceof ConsumerError ? 0 : (next.get(partition) ?? 0);
      const assigned: AssignedPartition = { topic, partition, next: offset, isStopped: false, failures: 0, tail: Promise.resolve() };
      this.#assigned.set(`${topic.topic}/${partition}`, assigned);
      const { low = 0, high = 0 } = offsets.get(partition) ?? {};
      if (next instanceof ConsumerError) this.#halt(assigned, next);
      else if (offset < low || offset > high) this.#halt(assigned, new ConsumerError(`${topic.topic}/${partition} holds offsets ${low} to ${high}, and ${offset} is next: what lies between is lost. Nothing was skipped`, 'OFFSETS_LOST'));
      return { topic: topic.topic, partition, offset };
    });
  }

  /** @returns once what is under way for the partition has ended. */
  #retire(topic: string, partition: number): Promise<void> {
    const key = `${topic}/${partition}`;
    const former = this.#assigned.get(key);
    this.#assigned.delete(key);
    if (this.#halted.delete(key)) this.#consumer?.resume([{ topic, partition }]);
    this.#countHalted();
    if (former === undefined) return Promise.resolve();
    former.isStopped = true;
    clearTimeout(former.retry);
    return former.tail;
  }

  async #take({ topic, partition, from, messages, following }: FetchedBatch): Promise<void> {
    const key = `${topic}/${partition}`;
    const assigned = this.#assigned.get(key);
    if (assigned === undefined || assigned.isStopped) return;
    if (this.#halted.get(key) instanceof KafkaError) this.#goesOn(assigned);
    const fetched = { from, messages: messages.map(({ offset, value }) => ({ offset, value })), following };
    // kafkajs may bring the next batch before the last one has ended, after a rebalance.
    const apply = (): Promise<void> => this.#applyAll(assigned, fetched);
    assigned.tail = assigned.tail.then(apply, apply);
    await assigned.tail;
  }

  /** What could not be read, or whose effect failed, is there again. */
  #goesOn({ topic: { topic }, partition }: AssignedPartition): void {
    if (!this.#halted.delete(`${topic}/${partition}`)) return;
    this.#countHalted();
    this.#deps.log.info({ topic, partition }, 'a partition is tried again');
  }

  async #applyAll(assigned: AssignedPartition, { from, messages, following }: Fetched): Promise<void> {
    const { maxBatchMessages } = this.#deps;
    const isOver = (): boolean => assigned.isStopped || this.#closing.signal.aborted;
    for (let attempt = 0; !isOver(); ) {
      if (following <= assigned.next) return;
      if (from > assigned.next) return this.#consumer?.seek({ topic: assigned.topic.topic, partition: assigned.partition, offset: assigned.next });
      try {
        const fresh = messages.filter(({ offset }) => offset >= assigned.next);
        await this.#applyOnce(assigned, fresh.slice(0, maxBatchMessages), fresh[maxBatchMessages]?.offset ?? following);
        attempt = 0;
      } catch (error) {
        if (!this.#isWorthRetrying(error)) return this.#stopAt(assigned, error);
        this.#deps.log.warn({ err: error, attempt }, 'a batch will be tried again');
        await this.#reload(assigned).catch(() => undefined);
        await sleep(Math.min(FIRST_RETRY_MS * 2 ** attempt, MAX_TRANSIENT_RETRY_MS) * (0.5 + Math.random() / 2), undefined, { signal: this.#closing.signal }).catch(() => undefined);
        attempt += 1;
      }
    }
  }

  /** The database is away, or the partition was handed over. */
  #isWorthRetrying(error: unknown): boolean {
    if (error instanceof ConsumerError && error.code === 'EFFECT_FAILED') return isTransient(error.cause);
    return (error instanceof ConsumerError && error.code === 'POSITION_TAKEN') || isTransient(error);
  }

  async #applyOnce(assigned: AssignedPartition, messages: readonly LogMessage[], following: number): Promise<void> {
    const { topic, partition, next } = assigned;
    const { db, definition, epsilonMs } = this.#deps;
    const started = performance.now();
    const applied = await applyBatch({ pool: db.pool, schema: this.#schema, definition, epsilonMs }, { topic, module: topic.module.apiName, coverages: topic.coverages, partition, from: next, messages, following });
    assigned.next = applied.next;
    if (assigned.failures > 0) this.#goesOn(assigned);
    assigned.failures = 0;
    this.#note(assigned, applied, (performance.now() - started) / 1000);
    if (applied.stop !== null) this.#halt(assigned, applied.stop);
  }

  #note({ topic: { topic, module }, partition, next }: AssignedPartition, { batch, parked, deliveries }: Applied, seconds: number): void {
    const { metrics, onDeliveries, log } = this.#deps;
    for (const { kind } of batch.changes) metrics.changes.inc({ module: module.apiName, kind });
    metrics.parked.inc({ module: module.apiName }, parked.length);
    metrics.batches.observe({ module: module.apiName }, seconds);
    metrics.position.set({ topic, partition: String(partition) }, next);
    for (const { message, code, cause } of parked) log.error({ topic, partition, offset: message.offset, code, cause }, 'a message cannot be read, and was set aside');
    if (deliveries > 0) onDeliveries?.();
  }

  async #reload(assigned: AssignedPartition): Promise<void> {
    const { topic, partition } = assigned;
    const next = await loadPositions(this.#deps.db.pool, this.#schema, topic, [{ partition, effectsFrom: 0 }]);
    assigned.next = next.get(partition) ?? assigned.next;
  }

  /** An effect that failed is tried again by itself; anything else waits for a person. */
  #stopAt(assigned: AssignedPartition, error: unknown): void {
    this.#halt(assigned, error);
    if (!(error instanceof ConsumerError) || error.code !== 'EFFECT_FAILED') return;
    const { topic: { topic }, partition } = assigned;
    const waitMs = Math.min(1_000 * 2 ** assigned.failures, MAX_EFFECT_RETRY_MS);
    assigned.failures += 1;
    assigned.isStopped = false;
    assigned.retry = setTimeout(() => {
      if (assigned.isStopped || this.#closing.signal.aborted) return;
      this.#consumer?.seek({ topic, partition, offset: assigned.next });
      this.#consumer?.resume([{ topic, partition }]);
    }, waitMs);
  }

  #halt(assigned: AssignedPartition, error: unknown): void {
    const { topic: { topic }, partition } = assigned;
    assigned.isStopped = true;
    this.#halted.set(`${topic}/${partition}`, error);
    this.#countHalted();
    this.#deps.log.error({ err: error, topic, partition }, 'a partition is halted');
    this.#consumer?.pause([{ topic, partition }]);
  }

  /** It goes on with its next batch, by itself; lost offsets need a person. */
  #cannotRead({ topic, partition }: TopicPartition, error: KafkaError): void {
    const assigned = this.#assigned.get(`${topic}/${partition}`);
    if (assigned === undefined) return;
    if (error.code === 'OFFSETS_LOST') return this.#halt(assigned, error);
    this.#halted.set(`${topic}/${partition}`, error);
    this.#countHalted();
    this.#deps.log.error({ err: error, topic, partition }, 'a partition cannot be read on; it goes on once it can be');
  }

  #countHalted(): void {
    this.#deps.metrics.halted.set(this.#halted.size);
  }

  /** A hint for tools that show lag; what counts is in Postgres. */
  async #commit(): Promise<void> {
    const positions = [...this.#assigned.values()].map(({ topic: { topic }, partition, next }) => ({ topic, partition, offset: next }));
    if (positions.length > 0) await this.#consumer?.commit(positions);
  }
}
