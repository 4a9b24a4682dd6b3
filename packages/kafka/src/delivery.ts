import { setTimeout as sleep } from 'node:timers/promises';

import type { Logger } from '@lockstep/telemetry';
import type { Consumer as KafkaJsConsumer } from 'kafkajs';

import type { ConsumerHandlers, Position, TopicPartition } from './consumer.ts';
import type { FetchedBatch } from './fetched-batch.ts';
import { KafkaError, transactionOpen } from './errors.ts';

/** What kafkajs brings. */
export type Delivered = { readonly batch: FetchedBatch; readonly heartbeat: () => Promise<void> };

export type DeliveryDeps = { readonly consumer: Pick<KafkaJsConsumer, 'seek' | 'pause' | 'resume'>; readonly handlers: ConsumerHandlers; readonly log: Logger; readonly heldMs?: number | undefined };

type PartitionState = {
  /** The next offset to be handed on; `any` before the first batch where the group's committed offset decides. */
  next: number | 'any';
  /** Whether the application named the position. If not, a lost one is no loss of ours: the partition goes on at the first offset there is. */
  isNamed: boolean;
  /** Times in a row that the partition could not be read on, and that it came from elsewhere than requested. */
  unread: number;
  strays: number;
  /** Whether `next` is where the last batch ended. */
  isGoingOn: boolean;
  reread?: NodeJS.Timeout | undefined;
  /** Where an open transaction holds the partition, and since when by the monotonic clock. */
  held?: { readonly offset: number; readonly sinceMs: number; isReported: boolean } | undefined;
};

const BEAT_MS = 1_000;
/** A bit that was flipped on the way, or in one replica of several, does not come back when it is read again. */
const REPORT_AFTER = 3;
const FIRST_REREAD_MS = 200;
const MAX_REREAD_MS = 60_000;
/** Transactions end within moments; one that does not is reported well within a minute. */
const HELD_MS = 20_000;

/**
 * Hands fetched batches to the application, each message once and in order from the positions that it named.
 *
 * A partition that cannot be read on is paused and read again: after 0.2 s, 0.4 s, … up to a minute. From the third time on the application knows
 * (`onUnreadable`), and it goes on by itself once a read succeeds. One whose next offset is lost stays paused. One that an
 * open transaction of another producer holds is fetched as before, and reported after a while. The other partitions go on.
 */
export class Delivery {
  readonly #deps: DeliveryDeps;
  readonly #partitions = new Map<string, PartitionState>();
  /** Those the application paused: they are not resumed by us. */
  readonly #pausedByApplication = new Set<string>();
  #held: readonly TopicPartition[] = [];
  #ready: Promise<void> = Promise.resolve();

  constructor(deps: DeliveryDeps) {
    this.#deps = deps;
  }

  /** Takes up an assignment: kafkajs does not wait for it, so batches wait until its positions are known. */
  assign(assigned: readonly TopicPartition[]): void {
    const { handlers, log } = this.#deps;
    const kept = new Set(assigned.map(keyOf));
    const revoked = this.#held.filter((one) => !kept.has(keyOf(one)));
    for (const one of this.#held) this.#forget(one);
    this.#held = assigned;
    // One after the other: the positions of an assignment that is over must not come last.
    this.#ready = this.#ready.then(() => this.#takeUp(assigned, revoked));
    this.#ready.catch((error: unknown) => {
      log.error({ err: error }, 'an assignment could not be taken up');
      handlers.onFatal(new KafkaError('an assignment could not be taken up', 'KAFKA_CONSUMER_CRASHED', { cause: error }));
    });
  }

  async #takeUp(assigned: readonly TopicPartition[], revoked: readonly TopicPartition[]): Promise<void> {
    const { handlers } = this.#deps;
    await handlers.onRevoked(revoked);
    const positions = await handlers.onAssigned(assigned);
    if (this.#held !== assigned) return;
    for (const one of assigned) this.#partitions.set(keyOf(one), { next: 'any', isNamed: false, isGoingOn: false, unread: 0, strays: 0 });
    for (const position of positions) this.seek(position);
  }

  seek(position: Position): void {
    const state = this.#partitions.get(keyOf(position));
    if (state !== undefined) Object.assign(state, { next: position.offset, isNamed: true, isGoingOn: false, strays: 0, held: undefined });
    this.#fetchFrom(position);
  }

  pause(partitions: readonly TopicPartition[]): void {
    for (const one of partitions) this.#pausedByApplication.add(keyOf(one));
    this.#deps.consumer.pause(byTopic(partitions));
  }

  resume(partitions: readonly TopicPartition[]): void {
    for (const one of partitions) this.#pausedByApplication.delete(keyOf(one));
    this.#deps.consumer.resume(byTopic(partitions));
  }

  close(): void {
    for (const { reread } of this.#partitions.values()) clearTimeout(reread);
  }

  /** Takes a batch. After a failure of the application's handler kafkajs brings it again. */
  async deliver({ batch, heartbeat }: Delivered): Promise<void> {
    for (let ready: Promise<void> | undefined; ready !== this.#ready; ) {
      ready = this.#ready;
      await beating(ready, heartbeat);
    }
    const state = this.#partitions.get(keyOf(batch));
    // Not ours any more, or fetched before the position was known.
    if (state === undefined || this.#isStray(state, batch)) return;
    const { next, isGoingOn } = state; // after the check, which may have changed them
    if (isGoingOn && batch.fetchedOffset === next && (batch.sentFrom ?? next) < next) {
      return this.#rereadLater(batch, state, `a record batch begins at offset ${batch.sentFrom}, and the one before it ends at ${next - 1}`);
    }
    const from = next === 'any' ? batch.fetchedOffset : Math.max(next, batch.fetchedOffset);
    const messages = (batch.messages[0]?.offset ?? from) >= from ? batch.messages : batch.messages.filter(({ offset }) => offset >= from);
    const isLast = batch.following >= Number(batch.highWatermark);
    if (batch.following > from) await this.#handOn(state, { ...placeOf(batch), from, messages, following: batch.following, isLast }, heartbeat);
    if (batch.fault !== undefined) this.#rereadLater(batch, state, batch.fault);
    if (batch.heldAt !== undefined && batch.fetchedOffset === from) this.#noteHeld(batch, batch.heldAt, state);
  }

  /** Reports it once. It is over with the next records, if only with the one that ends the transaction. */
  #noteHeld(batch: FetchedBatch, heldAt: number, state: PartitionState): void {
    const { topic, partition, fetchedOffset: offset } = batch;
    const { handlers, heldMs = HELD_MS } = this.#deps;
    if (state.held?.offset !== offset) state.held = { offset, sinceMs: performance.now(), isReported: false };
    if (state.held.isReported || performance.now() - state.held.sinceMs < heldMs) return;
    state.held.isReported = true;
    handlers.onUnreadable(placeOf(batch), transactionOpen(topic, partition, heldAt));
  }

  async #handOn(state: PartitionState, batch: Parameters<ConsumerHandlers['onBatch']>[0], heartbeat: () => Promise<void>): Promise<void> {
    const { next } = state;
    const { following } = batch;
    Object.assign(state, { next: following, isGoingOn: true, unread: 0, strays: 0, held: undefined });
    try {
      await beating(this.#deps.handlers.onBatch(batch), heartbeat);
    } catch (error) {
      // kafkajs brings the same batch again; unless a seek or a new assignment has decided otherwise, we want it.
      if (state.next === following) Object.assign(state, { next, isGoingOn: false });
      throw error;
    }
  }

  /**
   * Whether a batch is not what follows: it was fetched before a seek, or kafkajs began elsewhere because the offset is not there. The second time
   * in a row it cannot have been a seek.
   */
  #isStray(state: PartitionState, batch: FetchedBatch): boolean {
    const { next } = state;
    const { fetchedOffset: first } = batch;
    if (next === 'any' || batch.following === first) return false;
    const isCut = batch.fetchedOffset < next && Number(batch.highWatermark) < next;
    if (first <= next && !isCut) return false;
    state.strays += 1;
    if (state.strays === 1) this.#fetchFrom({ ...placeOf(batch), offset: next });
    else if (state.isNamed) this.#lose(batch, next, first);
    else return this.#goOnAnywhere(batch, state);
    return true;
  }

  #fetchFrom({ topic, partition, offset }: Position): void {
    this.#deps.consumer.seek({ topic, partition, offset: String(offset) });
  }

  #goOnAnywhere(batch: FetchedBatch, state: PartitionState): false {
    this.#deps.log.warn({ ...placeOf(batch), next: state.next, fetched: batch.fetchedOffset }, 'the next offset is gone; going on at the first there is');
    Object.assign(state, { next: 'any', isGoingOn: false, strays: 0 });
    return false;
  }

  #lose(batch: FetchedBatch, next: number, first: number): void {
    const { topic, partition } = batch;
    this.#deps.consumer.pause([{ topic, partitions: [partition] }]);
    const message = `${keyOf(batch)}: offset ${next} is next, and the log has offsets ${first} to ${Number(batch.highWatermark) - 1}: what lies between is lost. Nothing was skipped`;
    this.#deps.handlers.onUnreadable(placeOf(batch), new KafkaError(message, 'OFFSETS_LOST'));
  }

  #rereadLater(batch: FetchedBatch, state: PartitionState, fault: string): void {
    const place = placeOf(batch);
    const offset = state.next === 'any' ? batch.following : state.next;
    const topics = byTopic([place]);
    this.#deps.consumer.pause(topics);
    this.#fetchFrom({ ...place, offset });
    state.unread += 1;
    const waitMs = Math.min(FIRST_REREAD_MS * 2 ** (state.unread - 1), MAX_REREAD_MS);
    this.#deps.log.warn({ ...place, offset, fault, waitMs }, 'a partition cannot be read on');
    if (state.unread === REPORT_AFTER) this.#deps.handlers.onUnreadable(place, new KafkaError(`${keyOf(batch)} cannot be read at offset ${offset}: ${fault}`, 'LOG_CORRUPT'));
    state.reread = setTimeout(() => {
      if (!this.#pausedByApplication.has(keyOf(place))) this.#deps.consumer.resume(topics);
    }, waitMs);
  }

  /** What a partition was paused for ends with its assignment. */
  #forget(place: TopicPartition): void {
    clearTimeout(this.#partitions.get(keyOf(place))?.reread);
    this.#partitions.delete(keyOf(place));
    if (!this.#pausedByApplication.has(keyOf(place))) this.#deps.consumer.resume(byTopic([place]));
  }
}

const keyOf = ({ topic, partition }: TopicPartition): string => `${topic}/${partition}`;

const placeOf = ({ topic, partition }: TopicPartition): TopicPartition => ({ topic, partition });

const byTopic = (partitions: readonly TopicPartition[]): { topic: string; partitions: number[] }[] =>
  [...Map.groupBy(partitions, ({ topic }) => topic)].map(([topic, list]) => ({ topic, partitions: list.map(({ partition }) => partition) }));

/** Waits for the work while the group sees that we are alive. */
async function beating(work: Promise<void>, heartbeat: () => Promise<void>): Promise<void> {
  let isDone = false;
  const done = work.finally(() => {
    isDone = true;
  });
  for (;;) {
    const timer = new AbortController();
    await Promise.race([done, sleep(BEAT_MS, undefined, { signal: timer.signal }).catch(() => undefined)]);
    timer.abort();
    if (isDone) return await done;
    await heartbeat();
  }
}
