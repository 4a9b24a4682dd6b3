import { setTimeout as sleep } from 'node:timers/promises';

import { type Admin, type ConsumedBatch, type ConsumedMessage, type Consumer, createConsumer, type KafkaClient, type KafkaError, type Position, type TopicPartition } from '@lockstep/kafka';
import { type Database, partitionStates, pauses } from '@lockstep/postgres';
import { adoptMapping, type Applied, loadPositions, type LogMessage, type ModuleProjection, ProjectionError, retryParked, standingMapping } from '@lockstep/projection';
import { loop, type Logger } from '@lockstep/telemetry';

import { type AssignedPartition, isWave } from './lane.ts';
import type { ProjectorMetrics } from './metrics.ts';
import { ModuleLanes } from './module-lanes.ts';
import { isUnfit, type OpenTopic } from './open-topics.ts';
import { ParkedShare } from './parked-share.ts';
import { PartitionReports } from './partition-reports.ts';

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
  /** An open transaction of another producer that holds a partition for so long is reported; 20 s by default. */
  readonly heldMs?: number;
};

const COMMIT_EVERY_MS = 1_000;
const RETRY_EVERY_MS = 1_000;
const TABLE_CHECK_EVERY_MS = 2_000;
const PAUSE_CHECK_EVERY_MS = 500;
const ROOM_CHECK_MS = 5;
/** A module of which nothing is written for so long while it has no room is fetched no further until it has; the others are not kept by it. */
const ROOM_PATIENCE_MS = 500;
const WAVE_CHECK_EVERY_MS = 3_000;
const STATE_EVERY_MS = 1_000;
/**
 * While messages come by hundreds and the lanes are busy anyway, a fetch is held back for as long as this, and the next is not: a
 * few large fetches and transactions cost less than many small ones. A handful is not kept waiting, thousands are enough, and what is in
 * the log already need not be waited for.
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
  readonly #assigned = new Map<string, AssignedPartition>();
  readonly #halted = new Map<string, unknown>();
  /** Partitions whose log cannot be read on for the time being. */
  readonly #unreadable = new Map<string, KafkaError>();
  /** Topics of modules that a person has paused. */
  readonly #paused = new Set<string>();
  readonly #closing = new AbortController();
  readonly #parkedShare = new ParkedShare();
  /** By topic: the partitions of whose messages too many do not fit. All of the topic are halted, but for the one that is tried. */
  readonly #waves = new Map<string, Wave>();
  /** Halted partitions of which one batch is tried. */
  readonly #onTrial = new Set<string>();
  /** Partitions that are fetched no further until their module has made room. */
  readonly #full = new Set<string>();
  readonly #reports: PartitionReports;
  #lanes: ModuleLanes | undefined;
  #topics = new Map<string, OpenTopic>();
  #consumer: Consumer | undefined;
  #gatheredAt = 0;
  #loops: Promise<unknown> = Promise.resolve();

  constructor(deps: ProjectorDeps) {
    this.#deps = deps;
    this.#reports = new PartitionReports(deps);
  }

  /** Joins the group and begins. The record topics must exist. */
  async start(topics: ReadonlyMap<string, OpenTopic>): Promise<void> {
    const { db, kafka, onFatal, log, lanes, maxBatchMessages, groupId = 'lockstep-projector' } = this.#deps;
    this.#topics = new Map(topics);
    this.#lanes = new ModuleLanes(topics.keys(), lanes, {
      db,
      log,
      maxBatchMessages,
      mostParked: ({ module }, messages) => this.#parkedShare.mostParked(module.apiName, messages),
      onApplied: (projection, applied, seconds, partitions) => this.#applied(projection, applied, seconds, partitions),
      onHalt: (assigned, error) => this.#halt(assigned, error),
      onGap: ({ topic, partition, next }) => this.#consumer?.seek({ topic, partition, offset: next }),
    });
    await this.#checkPauses();
    this.#consumer = await createConsumer(kafka, { groupId, topics: [...topics.keys()], heldMs: this.#deps.heldMs });
    await this.#consumer.run({
      onAssigned: (partitions) => this.#assign(partitions),
      onRevoked: (partitions) => this.#revoke(partitions),
      onBatch: (batch) => this.#take(batch),
      onUnreadable: (place, error) => this.#cannotRead(place, error),
      onFatal,
    });
    const { signal } = this.#closing;
    this.#loops = Promise.all([
      loop({ name: 'commit of positions', everyMs: COMMIT_EVERY_MS, signal, log, body: () => this.#commit() }),
      loop({ name: 'parked messages', everyMs: RETRY_EVERY_MS, signal, log, body: () => this.#retryParked() }),
      loop({ name: 'check of pauses', everyMs: PAUSE_CHECK_EVERY_MS, signal, log, body: () => this.#checkPauses() }),
      loop({ name: 'state of partitions', everyMs: STATE_EVERY_MS, signal, log, body: () => this.#reports.write([...this.#assigned.values()], (key) => this.#halted.get(key) ?? this.#unreadable.get(key)) }),
      loop({ name: 'halted partitions that are wanted', everyMs: PAUSE_CHECK_EVERY_MS, signal, log, body: () => this.#checkWanted() }),
      loop({ name: 'check of waves', everyMs: WAVE_CHECK_EVERY_MS, signal, log, body: () => this.#checkWaves() }),
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
    await this.#lanes?.close();
    await this.#reports.forget([...this.#assigned.values()]);
    await this.#commit().catch(() => undefined);
    await this.#consumer?.close();
  }

  get #queuedBytes(): number {
    return this.#lanes?.queuedBytes() ?? 0;
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
    this.#refill();
  }

  /** A person has removed what a partition was halted for, or hopes so: then it halts again. */
  async #checkWanted(): Promise<void> {
    const halted = [...this.#assigned.values()].filter(({ topic, partition }) => this.#halted.has(`${topic}/${partition}`) && !this.#paused.has(topic));
    if (halted.length === 0) return;
    const wanted = await partitionStates(this.#deps.db).takeWanted(halted);
    for (const [topic, list] of Map.groupBy(wanted, (one) => one.topic)) await this.#goOn(this.#topics.get(topic) as OpenTopic, list.map(({ partition }) => partition));
  }

  #hold(partitions: readonly AssignedPartition[]): void {
    for (const assigned of partitions) {
      assigned.isStopped = true;
      this.#onTrial.delete(`${assigned.topic}/${assigned.partition}`);
    }
    this.#consumer?.pause(partitions.map(({ topic, partition }) => ({ topic, partition })));
  }

  /** What kept these partitions from going on is over; they are paused all the same. */
  #forgive(partitions: readonly AssignedPartition[]): void {
    for (const { topic, partition } of partitions) this.#halted.delete(`${topic}/${partition}`);
    this.#countHalted();
  }

  async #revoke(partitions: readonly TopicPartition[]): Promise<void> {
    for (const { topic, partition } of partitions) this.#retire(topic, partition);
    await this.#reports.forget(partitions);
  }

  #retire(topic: string, partition: number): void {
    const key = `${topic}/${partition}`;
    const former = this.#assigned.get(key);
    if (former !== undefined) former.isStopped = true;
    this.#assigned.delete(key);
    this.#onTrial.delete(key);
    const wasFull = this.#full.delete(key);
    if (this.#halted.delete(key) || this.#paused.has(topic) || wasFull) this.#consumer?.resume([{ topic, partition }]);
    this.#unreadable.delete(key);
    this.#countHalted();
  }

  async #take(batch: ConsumedBatch): Promise<void> {
    const { topic, partition, from, messages, following, isLast } = batch;
    const key = `${topic}/${partition}`;
    const assigned = this.#assigned.get(key);
    if (assigned === undefined || assigned.isStopped || (this.#halted.has(key) && !this.#onTrial.has(key))) return;
    if (this.#unreadable.delete(key)) {
      this.#countHalted();
      this.#deps.log.info({ topic, partition }, 'a partition can be read again');
    }
    const queued = messages.map((message) => logMessage(message, partition));
    const bytes = queued.reduce((sum, { value }) => sum + (value?.length ?? 0) + OVERHEAD_BYTES, 0);
    const isBusy = this.#queuedBytes > 0;
    this.#reports.noteFetched(batch);
    await this.#room(topic, partition);
    this.#lanes?.push({ assigned, from, messages: queued, following, bytes });
    this.#deps.metrics.queuedBytes.set(this.#queuedBytes);
    if (isBusy && isLast && messages.length >= GATHER_FROM && messages.length < GATHER_BELOW) await this.#gather();
  }

  /** Waits while much of the module waits already; where that makes no progress, the partition is fetched no further after this. */
  async #room(topic: string, partition: number): Promise<void> {
    const queued = (): number => this.#lanes?.queuedBytes(topic) ?? 0;
    for (let [since, before, now] = [performance.now(), queued(), queued()]; now > this.#deps.maxQueuedBytes && !this.#closing.signal.aborted; now = queued()) {
      if (now < before) [since, before] = [performance.now(), now];
      if (performance.now() - since > ROOM_PATIENCE_MS) {
        this.#full.add(`${topic}/${partition}`);
        this.#consumer?.pause([{ topic, partition }]);
        return;
      }
      await sleep(ROOM_CHECK_MS);
    }
  }

  /** Fetches on what was held back for want of room. */
  #refill(): void {
    for (const { topic, partition } of this.#assigned.values()) {
      const key = `${topic}/${partition}`;
      if (!this.#full.has(key) || (this.#lanes?.queuedBytes(topic) ?? 0) > this.#deps.maxQueuedBytes / 2) continue;
      this.#full.delete(key);
      if (!this.#halted.has(key) && !this.#paused.has(topic)) this.#consumer?.resume([{ topic, partition }]);
    }
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
    this.#parkedShare.note(module.apiName, applied);
    for (const { topic, partition } of partitions) {
      const wave = this.#onTrial.delete(`${topic}/${partition}`) ? this.#waves.get(topic) : undefined;
      if (wave !== undefined) wave.isOver = true;
    }
    this.#refill();
  }

  #halt(partitions: readonly AssignedPartition[], error: unknown): void {
    if (isWave(error)) return this.#haltModule(partitions, error);
    for (const assigned of partitions) {
      const { topic, partition } = assigned;
      assigned.isStopped = true;
      this.#onTrial.delete(`${topic}/${partition}`);
      this.#halted.set(`${topic}/${partition}`, error);
      this.#deps.log.error({ err: error, topic, partition }, 'a partition is halted until a person acts');
    }
    this.#countHalted();
    this.#consumer?.pause(partitions.map(({ topic, partition }) => ({ topic, partition })));
  }

  /** Where too many messages do not fit, those of the module's other partitions will not either. */
  #haltModule(culprits: readonly AssignedPartition[], error: unknown): void {
    const [first] = culprits;
    if (first === undefined) return;
    const { topic, projection: { module: { apiName } } } = first;
    if (!this.#waves.has(topic)) this.#deps.log.error({ err: error, topic, module: apiName }, 'a module is halted until its messages fit; one batch is tried every few seconds');
    this.#waves.set(topic, { partitions: culprits.map(({ partition }) => partition), isOver: false });
    this.#parkedShare.setWave(apiName, true);
    const assigned = [...this.#assigned.values()].filter((one) => one.topic === topic);
    for (const one of assigned) {
      const key = `${topic}/${one.partition}`;
      one.isStopped = true;
      this.#onTrial.delete(key);
      const standing = this.#halted.get(key);
      if (standing === undefined || isWave(standing)) this.#halted.set(key, error);
    }
    this.#countHalted();
    this.#consumer?.pause(assigned.map(({ partition }) => ({ topic, partition })));
  }

  /** Tries one batch of a module of which too many messages did not fit; once one fits, all of it goes on. */
  async #checkWaves(): Promise<void> {
    for (const [topic, wave] of this.#waves) {
      const open = this.#topics.get(topic) as OpenTopic;
      const halted = [...this.#assigned.values()].filter((one) => one.topic === topic && isWave(this.#halted.get(`${topic}/${one.partition}`)));
      if (this.#paused.has(topic)) continue;
      const culprits = halted.filter(({ partition }) => wave.partitions.includes(partition));
      if (wave.isOver || culprits.length === 0) {
        this.#waves.delete(topic);
        this.#parkedShare.setWave(open.projection.module.apiName, false);
        await this.#goOn(open, halted.map(({ partition }) => partition));
      } else {
        // One that is on trial still may have nothing to be read.
        const next = culprits.find(({ partition }) => !this.#onTrial.has(`${topic}/${partition}`));
        if (next !== undefined) await this.#try(open, next.partition);
      }
    }
  }

  /** The partition still counts as halted. */
  async #try({ topic, topicId, projection }: OpenTopic, partition: number): Promise<void> {
    const offset = (await loadPositions(this.#deps.db.pool, { topic, topicId, partitions: [partition] })).get(partition) as number;
    const key = `${topic}/${partition}`;
    if (!isWave(this.#halted.get(key))) return;
    this.#assigned.set(key, { projection, topic, topicId, partition, next: offset, isStopped: false });
    this.#onTrial.add(key);
    this.#consumer?.seek({ topic, partition, offset });
    this.#consumer?.resume([{ topic, partition }]);
  }

  /** What was read before may be applied. It goes on with its next batch, by itself; lost offsets need a person. */
  #cannotRead({ topic, partition }: TopicPartition, error: KafkaError): void {
    const key = `${topic}/${partition}`;
    const assigned = this.#assigned.get(key);
    if (assigned === undefined) return;
    if (error.code === 'OFFSETS_LOST') return this.#halt([assigned], error);
    this.#unreadable.set(key, error);
    this.#countHalted();
    this.#deps.log.error({ err: error, topic, partition }, 'a partition cannot be read on; it goes on once it can be');
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

type Wave = { readonly partitions: readonly number[]; isOver: boolean };

const BULK = 'b'.codePointAt(0);

const logMessage = (message: ConsumedMessage, partition: number): LogMessage => ({ partition, offset: message.offset, value: message.value, isBulk: message.header('ce_origin')?.[0] === BULK });
