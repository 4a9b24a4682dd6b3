import { setTimeout as sleep } from 'node:timers/promises';

import { type Admin, type ConsumedBatch, type ConsumedMessage, type Consumer, createConsumer, type KafkaClient, type KafkaError, type Position, type TopicPartition } from '@lockstep/kafka';
import { type Database, pauses } from '@lockstep/postgres';
import { adoptMapping, type Applied, loadPositions, type LogMessage, type ModuleProjection, ProjectionError, retryParked, standingMapping } from '@lockstep/projection';
import { loop, type Logger } from '@lockstep/telemetry';

import { type AssignedPartition, Lane } from './lane.ts';
import type { ProjectorMetrics } from './metrics.ts';
import { isUnfit, type OpenTopic } from './open-topics.ts';
import { ParkedShare } from './parked-share.ts';

export type ProjectorDeps = {
  readonly db: Database;
  readonly kafka: KafkaClient;
  readonly admin: Admin;
  readonly lanes: number;
  readonly maxBatchMessages: number;
  readonly maxQueuedBytes: number;
  readonly metrics: ProjectorMetrics;
  readonly log: Logger;
  readonly onFatal: (error: unknown) => void;
  readonly groupId?: string;
};

const COMMIT_EVERY_MS = 1_000;
const RETRY_EVERY_MS = 1_000;
const TABLE_CHECK_EVERY_MS = 2_000;
const PAUSE_CHECK_EVERY_MS = 500;
const ROOM_CHECK_MS = 5;
/**
 * While messages come by hundreds and the lanes are busy anyway, a fetch is held back for as long as this, and the next is not: a
 * few large fetches and transactions cost less than many small ones. A handful is not kept waiting, and thousands are enough.
 */
const GATHER_MS = 200;
const GATHER_FROM = 100;
const GATHER_BELOW = 2_000;
/** What a message costs in memory beside its value. */
const OVERHEAD_BYTES = 300;

/**
 * Folds the record topics into register and legacy tables. Messages are queued to lanes and fetched on while they are
 * applied; positions live in Postgres, moved by the transaction that applies a batch, so a rebalance, a crash or a lost answer
 * changes nothing but who goes on.
 */
export class Projector {
  readonly #deps: ProjectorDeps;
  readonly #lanes: Lane[];
  readonly #assigned = new Map<string, AssignedPartition>();
  readonly #halted = new Map<string, unknown>();
  /** Partitions whose log cannot be read on for the time being. */
  readonly #unreadable = new Map<string, KafkaError>();
  /** Topics of modules that a person has paused. */
  readonly #paused = new Set<string>();
  readonly #closing = new AbortController();
  readonly #parkedShare = new ParkedShare();
  #topics = new Map<string, OpenTopic>();
  #consumer: Consumer | undefined;
  #gatheredAt = 0;
  #loops: Promise<unknown> = Promise.resolve();

  constructor(deps: ProjectorDeps) {
    this.#deps = deps;
    const { db, log, maxBatchMessages } = deps;
    this.#lanes = Array.from({ length: deps.lanes }, () =>
      new Lane({
        db,
        log,
        maxBatchMessages,
        onApplied: (projection, applied, seconds, partitions) => this.#applied(projection, applied, seconds, partitions),
        onHalt: (assigned, error) => this.#halt(assigned, error),
        onGap: ({ topic, partition, next }) => this.#consumer?.seek({ topic, partition, offset: next }),
      }));
  }

  /** Joins the group and begins. The record topics must exist. */
  async start(topics: ReadonlyMap<string, OpenTopic>): Promise<void> {
    const { kafka, onFatal, log, groupId = 'lockstep-projector' } = this.#deps;
    this.#topics = new Map(topics);
    await this.#checkPauses();
    this.#consumer = await createConsumer(kafka, { groupId, topics: [...topics.keys()] });
    await this.#consumer.run({
      onAssigned: (partitions) => this.#assign(partitions),
      onRevoked: async (partitions) => this.#revoke(partitions),
      onBatch: (batch) => this.#take(batch),
      onUnreadable: (place, error) => this.#cannotRead(place, error),
      onFatal,
    });
    const { signal } = this.#closing;
    this.#loops = Promise.all([
      loop({ name: 'commit of positions', everyMs: COMMIT_EVERY_MS, signal, log, body: () => this.#commit() }),
      loop({ name: 'parked messages', everyMs: RETRY_EVERY_MS, signal, log, body: () => this.#retryParked() }),
      loop({ name: 'check of pauses', everyMs: PAUSE_CHECK_EVERY_MS, signal, log, body: () => this.#checkPauses() }),
      loop({ name: 'check of unfit tables', everyMs: TABLE_CHECK_EVERY_MS, signal, log, body: () => this.#checkUnfitTables() }),
    ]);
  }

  /** @throws {Error} naming the partitions that wait for a person, and why; for the readiness check. */
  check(): void {
    if (this.#consumer === undefined) throw new Error('the record topics do not exist yet: start the ingress');
    const halted = [...this.#halted, ...this.#unreadable];
    const [first] = halted;
    if (first === undefined) return;
    const [partition, error] = first;
    throw new Error(`${halted.length} partitions are halted, e.g. ${partition}: ${error instanceof Error ? error.message : String(error)}`);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#loops;
    await Promise.all(this.#lanes.map((lane) => lane.close()));
    await this.#commit().catch(() => undefined);
    await this.#consumer?.close();
  }

  get #queuedBytes(): number {
    return this.#lanes.reduce((sum, lane) => sum + lane.queuedBytes, 0);
  }

  async #assign(partitions: readonly TopicPartition[]): Promise<readonly Position[]> {
    const positions: Position[] = [];
    for (const [topic, list] of Map.groupBy(partitions, (one) => one.topic)) {
      const known = this.#topics.get(topic);
      if (known === undefined) continue;
      positions.push(...(await this.#assignTopic(known, list.map(({ partition }) => partition))));
    }
    this.#deps.log.info({ partitions: positions.length }, 'partitions assigned');
    return positions;
  }

  async #assignTopic({ topic, topicId, projection, unfit }: OpenTopic, partitions: readonly number[]): Promise<Position[]> {
    const { db, admin } = this.#deps;
    const next = await loadPositions(db.pool, { topic, topicId, partitions });
    const offsets = new Map((await admin.topicOffsets(topic)).map((one) => [one.partition, one]));
    return partitions.map((partition) => {
      const offset = next.get(partition) as number;
      const assigned: AssignedPartition = { projection, topic, topicId, partition, next: offset, isStopped: false };
      this.#retire(topic, partition);
      this.#assigned.set(`${topic}/${partition}`, assigned);
      const { low = 0, high = 0 } = offsets.get(partition) ?? {};
      if (offset < low || offset > high) {
        this.#halt([assigned], new ProjectionError(`${topic}/${partition} holds offsets ${low} to ${high}, and ${offset} is next: what lies between is lost. Nothing was skipped`, 'OFFSETS_LOST'));
      }
      if (unfit !== undefined) this.#halt([assigned], unfit.error);
      if (this.#paused.has(topic)) this.#hold([assigned]);
      return { topic, partition, offset };
    });
  }

  /** Modules that were halted because mapping and table do not fit go on once they do. */
  async #checkUnfitTables(): Promise<void> {
    for (const open of this.#topics.values()) {
      const halted = [...this.#assigned.values()].filter(({ topic, partition }) => topic === open.topic && isUnfit(this.#halted.get(`${topic}/${partition}`)));
      if (halted.length === 0 && open.unfit === undefined) continue;
      try {
        await this.#adoptAgain(open);
      } catch (error) {
        if (!isUnfit(error)) throw error;
        continue;
      }
      this.#topics.set(open.topic, { ...open, unfit: undefined });
      if (this.#paused.has(open.topic)) this.#forgive(halted);
      else await this.#goOn(open, halted.map(({ partition }) => partition));
    }
  }

  /** A mapping that another build adopted in the meantime stays. */
  async #adoptAgain({ projection, unfit }: OpenTopic): Promise<void> {
    const { pool } = this.#deps.db;
    if (unfit !== undefined && (await standingMapping(pool, projection)) === unfit.standing) await adoptMapping(pool, projection);
    else await projection.readTable(pool);
  }

  async #goOn({ topic, topicId, projection }: OpenTopic, partitions: readonly number[]): Promise<void> {
    if (partitions.length === 0) return;
    const next = await loadPositions(this.#deps.db.pool, { topic, topicId, partitions });
    for (const partition of partitions) {
      if (!this.#assigned.has(`${topic}/${partition}`)) continue;
      const offset = next.get(partition) as number;
      this.#retire(topic, partition);
      this.#assigned.set(`${topic}/${partition}`, { projection, topic, topicId, partition, next: offset, isStopped: false });
      this.#consumer?.seek({ topic, partition, offset });
    }
    this.#deps.log.info({ topic, partitions }, 'partitions go on');
  }

  /** Modules that a person pauses are left alone until they are resumed; what was fetched of them is fetched again. */
  async #checkPauses(): Promise<void> {
    const paused = new Map((await pauses(this.#deps.db).all()).map((one) => [one.module, one]));
    for (const open of this.#topics.values()) {
      const { topic, projection: { module } } = open;
      const pause = paused.get(module.apiName);
      if ((pause !== undefined) === this.#paused.has(topic)) continue;
      const assigned = [...this.#assigned.values()].filter((one) => one.topic === topic);
      if (pause === undefined) {
        this.#paused.delete(topic);
        const free = assigned.flatMap(({ partition }) => (this.#halted.has(`${topic}/${partition}`) ? [] : [partition]));
        this.#consumer?.resume(free.map((partition) => ({ topic, partition })));
        await this.#goOn(open, free);
      } else {
        this.#paused.add(topic);
        this.#deps.log.warn({ module: module.apiName, since: pause.since, reason: pause.reason }, 'the module is paused: nothing of it is applied until it is resumed');
        this.#hold(assigned);
      }
    }
    this.#deps.metrics.pausedModules.set(this.#paused.size);
  }

  #hold(partitions: readonly AssignedPartition[]): void {
    for (const assigned of partitions) assigned.isStopped = true;
    this.#consumer?.pause(partitions.map(({ topic, partition }) => ({ topic, partition })));
  }

  /** What kept these partitions from going on is over; they are paused all the same. */
  #forgive(partitions: readonly AssignedPartition[]): void {
    for (const { topic, partition } of partitions) this.#halted.delete(`${topic}/${partition}`);
    this.#countHalted();
  }

  #revoke(partitions: readonly TopicPartition[]): void {
    for (const { topic, partition } of partitions) this.#retire(topic, partition);
  }

  #retire(topic: string, partition: number): void {
    const key = `${topic}/${partition}`;
    const former = this.#assigned.get(key);
    if (former !== undefined) former.isStopped = true;
    this.#assigned.delete(key);
    if (this.#halted.delete(key) || this.#paused.has(topic)) this.#consumer?.resume([{ topic, partition }]);
    this.#unreadable.delete(key);
    this.#countHalted();
  }

  async #take({ topic, partition, messages }: ConsumedBatch): Promise<void> {
    const key = `${topic}/${partition}`;
    const assigned = this.#assigned.get(key);
    if (assigned === undefined || assigned.isStopped || this.#halted.has(key)) return;
    if (this.#unreadable.delete(key)) {
      this.#countHalted();
      this.#deps.log.info({ topic, partition }, 'a partition can be read again');
    }
    const queued = messages.map((message) => logMessage(message, partition));
    const bytes = queued.reduce((sum, { value }) => sum + (value?.length ?? 0) + OVERHEAD_BYTES, 0);
    const isBusy = this.#queuedBytes > 0;
    while (this.#queuedBytes > this.#deps.maxQueuedBytes && !this.#closing.signal.aborted) await sleep(ROOM_CHECK_MS);
    const lane = this.#lanes[(partition + (this.#topics.get(topic)?.index ?? 0)) % this.#lanes.length] as Lane;
    lane.push({ assigned, messages: queued, bytes });
    this.#deps.metrics.queuedBytes.set(this.#queuedBytes);
    if (isBusy && messages.length >= GATHER_FROM && messages.length < GATHER_BELOW) await this.#gather();
  }

  async #gather(): Promise<void> {
    if (performance.now() - this.#gatheredAt < GATHER_MS) return;
    await sleep(GATHER_MS);
    this.#gatheredAt = performance.now();
  }

  #applied({ module }: ModuleProjection, applied: Applied, seconds: number, partitions: readonly AssignedPartition[]): void {
    const { metrics } = this.#deps;
    metrics.observations.inc({ module: module.apiName, outcome: 'applied' }, applied.applied);
    metrics.observations.inc({ module: module.apiName, outcome: 'refused' }, applied.refused);
    metrics.observations.inc({ module: module.apiName, outcome: 'parked' }, applied.rejects + applied.waiting);
    metrics.outdatedRows.inc({ module: module.apiName }, applied.refusedBulk);
    metrics.batches.observe({ module: module.apiName }, seconds);
    metrics.queuedBytes.set(this.#queuedBytes);
    for (const { topic, partition, next } of partitions) metrics.position.set({ topic, partition }, next);
    try {
      this.#parkedShare.note(module.apiName, applied);
    } catch (error) {
      this.#halt(partitions, error);
    }
  }

  #halt(partitions: readonly AssignedPartition[], error: unknown): void {
    for (const assigned of partitions) {
      const { topic, partition } = assigned;
      assigned.isStopped = true;
      this.#halted.set(`${topic}/${partition}`, error);
      this.#deps.log.error({ err: error, topic, partition }, 'a partition is halted until a person acts');
    }
    this.#countHalted();
    this.#consumer?.pause(partitions.map(({ topic, partition }) => ({ topic, partition })));
  }

  /** What was read before may be applied. A log that is corrupt is read again by the consumer; lost offsets need a person. */
  #cannotRead({ topic, partition }: TopicPartition, error: KafkaError): void {
    const key = `${topic}/${partition}`;
    const assigned = this.#assigned.get(key);
    if (assigned === undefined) return;
    if (error.code === 'OFFSETS_LOST') return this.#halt([assigned], error);
    this.#unreadable.set(key, error);
    this.#countHalted();
    this.#deps.log.error({ err: error, topic, partition }, 'a partition cannot be read on; it is read again each minute');
  }

  #countHalted(): void {
    this.#deps.metrics.halted.set(this.#halted.size + this.#unreadable.size);
  }

  /** Tries again what conflicted with other rows, each module by itself. @returns true when it helped, and there is more. */
  async #retryParked(): Promise<boolean> {
    const failures: unknown[] = [];
    let isWorthwhile = false;
    for (const { topic, projection, unfit } of this.#topics.values()) {
      if (unfit !== undefined || this.#paused.has(topic)) continue;
      try {
        isWorthwhile = (await this.#retryModule(projection)) || isWorthwhile;
      } catch (error) {
        failures.push(error);
        this.#deps.log.warn({ err: error, module: projection.module.apiName }, 'what conflicted could not be tried again');
      }
    }
    // Where nothing works the loop backs off.
    if (failures.length > 0 && failures.length === this.#topics.size) throw new AggregateError(failures, 'what conflicted could not be tried again in any module');
    return isWorthwhile;
  }

  async #retryModule(projection: ModuleProjection): Promise<boolean> {
    const client = await this.#deps.db.pool.connect();
    try {
      const { resolved, waiting } = await retryParked(client, projection);
      if (resolved + waiting > 0) this.#deps.log.info({ module: projection.module.apiName, resolved, waiting }, 'tried again what conflicted');
      client.release();
      return resolved > 0;
    } catch (error) {
      client.release(true);
      throw error;
    }
  }

  /** A hint for tools that show lag; what counts is in Postgres. */
  async #commit(): Promise<void> {
    const positions = [...this.#assigned.values()].map(({ topic, partition, next }) => ({ topic, partition, offset: next }));
    if (positions.length > 0) await this.#consumer?.commit(positions);
  }
}

const BULK = 'b'.codePointAt(0);

const logMessage = (message: ConsumedMessage, partition: number): LogMessage => ({ partition, offset: message.offset, value: message.value, isBulk: message.header('ce_origin')?.[0] === BULK });
