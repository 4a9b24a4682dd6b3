import { setTimeout as sleep } from 'node:timers/promises';

import { type Database, isTransient, sqlState } from '@lockstep/postgres';
import { type Applied, loadPositions, type LogMessage, type ModuleProjection, maySpeakOfTable, projectBatch, ProjectionError } from '@lockstep/projection';
import { crashPoint, type Logger } from '@lockstep/telemetry';
import type { PoolClient } from 'pg';

/** A partition that this process projects: where it stands, and whether it may go on. */
export type AssignedPartition = {
  readonly projection: ModuleProjection;
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  next: number;
  /** Set when the partition was handed over, or halted; what is queued of it is dropped. */
  isStopped: boolean;
};

/** Messages of one partition, as they were fetched: all there are from the offset `from` on, and before `following`. */
export type Work = { readonly assigned: AssignedPartition; readonly from: number; readonly messages: readonly LogMessage[]; readonly following: number; readonly bytes: number };

export type LaneDeps = {
  readonly db: Database;
  readonly log: Logger;
  readonly maxBatchMessages: number;
  /** How many of so many messages may be parked for good. */
  readonly mostParked: (projection: ModuleProjection, messages: number) => number;
  /** Called after each commit. */
  readonly onApplied: (projection: ModuleProjection, applied: Applied, seconds: number, partitions: readonly AssignedPartition[]) => void;
  /** Called once for what only a person can resolve; the partitions take no more work. */
  readonly onHalt: (assigned: readonly AssignedPartition[], error: unknown) => void;
  /** Called when messages before the next one in hand are missing: the consumer is to fetch them again. */
  readonly onGap: (assigned: AssignedPartition) => void;
};

const MAX_RETRY_MS = 5_000;
/** A lock was waited for already. */
const LOCK_RETRY_MS = 250;
/** Rows that another session has locked for longer are kept aside; see `heldUp` of packages/projection. */
const LOCK_TIMEOUT = '300ms';
const LOCKED = '55P03';
/** `transaction_timeout` of Postgres 17: it ends the connection as well. */
const TOOK_TOO_LONG = '25P04';
/** A process that is stopped in a transaction, or whose host vanished, keeps neither rows nor positions locked for long: the server ends its connection. */
const noticeStoppedLane = `set idle_in_transaction_session_timeout = '30s'; set tcp_keepalives_idle = 10; set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3`;

/**
 * One connection and a queue: batches form by themselves while the last transaction runs. A partition always goes the same
 * lane, and a record has one partition, so two lanes never touch the same record.
 */
export class Lane {
  readonly #deps: LaneDeps;
  readonly #queue: Work[] = [];
  readonly #closing = new AbortController();
  #client: PoolClient | undefined;
  #giveBack: () => void = () => undefined;
  #wake: (() => void) | undefined;
  #running: Promise<void>;
  #queuedBytes = 0;

  constructor(deps: LaneDeps) {
    this.#deps = deps;
    this.#running = this.#run();
  }

  /** Bytes of messages that wait. The caller stops fetching while this is high. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  push(work: Work): void {
    this.#queue.push(work);
    this.#queuedBytes += work.bytes;
    this.#wake?.();
  }

  /** Ends after the running transaction; what is queued will be fetched again by the next owner. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#wake?.();
    await this.#running;
    this.#giveBack();
  }

  async #run(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      const works = this.#take();
      if (works.length === 0) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        continue;
      }
      await this.#project(works);
      for (const { bytes } of works) this.#queuedBytes -= bytes;
    }
  }

  /** All that waits for the first work's topic, up to a full batch. */
  #take(): Work[] {
    const topic = this.#queue[0]?.assigned.topic;
    const taken: Work[] = [];
    let messages = 0;
    for (let i = 0; i < this.#queue.length && messages < this.#deps.maxBatchMessages; ) {
      const work = this.#queue[i] as Work;
      if (work.assigned.topic !== topic) {
        i += 1;
        continue;
      }
      messages += work.messages.length;
      taken.push(work);
      this.#queue.splice(i, 1);
    }
    return taken;
  }

  /** Projects until it is done, however long the database is away; halts only the partitions whose own messages a person must see to. */
  async #project(works: readonly Work[]): Promise<void> {
    let isRenewed = false;
    for (let attempt = 0; !this.#closing.signal.aborted; attempt += 1) {
      try {
        await this.#projectOnce(works);
        return;
      } catch (error) {
        if (isWave(error)) return await this.#haltWave(works, error);
        const isFenced = error instanceof ProjectionError && error.code === 'POSITION_TAKEN';
        const isChanged = error instanceof ProjectionError && error.code === 'TABLE_CHANGED';
        // Stages and prepared statements of the connection may be of the table as it was: one attempt with a new connection.
        const isStale: boolean = !isRenewed && maySpeakOfTable(error);
        isRenewed ||= isStale;
        const halves = sqlState(error) === TOOK_TOO_LONG ? halved(works) : null;
        if (halves !== null) {
          this.#dropClient();
          for (const half of halves) await this.#project(half);
          return;
        }
        if (!isFenced && !isChanged && !isStale && !isTransient(error)) return await this.#haltCulprits(works, error);
        this.#deps.log.warn({ err: error, attempt }, 'batch will be retried');
        if (isFenced) await this.#reloadPositions(works).catch(() => undefined);
        else this.#dropClient();
        await sleep(Math.min(100 * 2 ** attempt, sqlState(error) === LOCKED ? LOCK_RETRY_MS : MAX_RETRY_MS) * (0.5 + Math.random() / 2), undefined, { signal: this.#closing.signal }).catch(() => undefined);
      }
    }
  }

  /** Those that have messages left are halted, and the one whose message did not fit is the first of them. */
  async #haltWave(works: readonly Work[], error: unknown): Promise<void> {
    await this.#reloadPositions(works).catch((cause: unknown) => this.#deps.log.warn({ err: cause }, 'positions could not be read'));
    const left = works.filter(({ assigned, following }) => assigned.next < following);
    this.#deps.onHalt([...new Set(left.map(({ assigned }) => assigned))], error);
  }

  /** Each partition goes by itself, so that one that cannot go on takes no other with it. */
  async #haltCulprits(works: readonly Work[], error: unknown): Promise<void> {
    const byPartition = [...Map.groupBy(works, ({ assigned }) => assigned)];
    if (byPartition.length > 1) for (const [, own] of byPartition) await this.#project(own);
    else this.#deps.onHalt(byPartition.map(([assigned]) => assigned), error);
  }

  async #projectOnce(works: readonly Work[]): Promise<void> {
    const messages: LogMessage[] = [];
    const positions = new Map<number, { from: number; to: number }>();
    const partitions = new Set<AssignedPartition>();
    for (const { assigned, messages: fetched, ...work } of works) {
      const from = positions.get(assigned.partition)?.to ?? assigned.next;
      if (assigned.isStopped || work.following <= from) continue;
      if (work.from > from) {
        this.#deps.onGap(assigned);
        continue;
      }
      const fresh = work.from === from ? fetched : fetched.filter(({ offset }) => offset >= from);
      for (const message of fresh) messages.push(message);
      positions.set(assigned.partition, { from: assigned.next, to: work.following });
      partitions.add(assigned);
    }
    const [first] = partitions;
    if (first === undefined) return;
    const { topic, topicId, projection } = first;
    const started = performance.now();
    const applied = await projectBatch(await this.#connection(), projection, { topic, topicId, messages, positions }, { mostParked: (count) => this.#deps.mostParked(projection, count) });
    crashPoint('batch-committed');
    for (const assigned of partitions) assigned.next = positions.get(assigned.partition)?.to ?? assigned.next;
    this.#deps.onApplied(projection, applied, (performance.now() - started) / 1000, [...partitions]);
  }

  /** After a commit whose answer was lost, or a hand-over: the database says where the partitions stand. */
  async #reloadPositions(works: readonly Work[]): Promise<void> {
    for (const { assigned } of works) {
      const { topic, topicId, partition } = assigned;
      const positions = await loadPositions(await this.#connection(), { topic, topicId, partitions: [partition] });
      assigned.next = positions.get(partition) ?? assigned.next;
    }
  }

  async #connection(): Promise<PoolClient> {
    if (this.#client === undefined) {
      const client = await this.#deps.db.pool.connect();
      // A connection that breaks goes back to the pool all the same: else the pool has one fewer forever.
      const onError = (): void => {
        if (this.#client === client) this.#dropClient();
      };
      client.on('error', onError);
      this.#client = client;
      this.#giveBack = () => {
        // Its settings are the lane's.
        if (this.#client === client) client.off('error', onError).release(true);
      };
      await client.query(`set lock_timeout = '${LOCK_TIMEOUT}'; ${noticeStoppedLane}`);
    }
    return this.#client;
  }

  #dropClient(): void {
    const client = this.#client;
    this.#client = undefined;
    client?.release(true);
  }
}

/** Whether so much does not fit that none of it was parked. */
export const isWave = (error: unknown): error is ProjectionError => error instanceof ProjectionError && error.code === 'TOO_MANY_PARKED';

/** The same messages in two parts, in order; null where there is one only. */
function halved(works: readonly Work[]): readonly [readonly Work[], readonly Work[]] | null {
  const count = works.reduce((sum, { messages }) => sum + messages.length, 0);
  if (count < 2) return null;
  const [first, second]: [Work[], Work[]] = [[], []];
  let room = count >> 1;
  for (const work of works) {
    const { messages } = work;
    if (room >= messages.length) first.push(work);
    else if (room <= 0) second.push(work);
    else {
      const at = (messages[room] as LogMessage).offset;
      first.push({ ...work, messages: messages.slice(0, room), following: at });
      second.push({ ...work, from: at, messages: messages.slice(room) });
    }
    room -= messages.length;
  }
  return [first, second];
}
