import type { ConsumedBatch, TopicPartition } from '@lockstep/kafka';
import { type Database, partitionStates, type PartitionState } from '@lockstep/postgres';
import type { Logger } from '@lockstep/telemetry';

import type { AssignedPartition } from './lane.ts';
import { Unapplied } from './unapplied.ts';

/** What has not changed is written again so often, so that a projector that no longer runs is seen. */
const AT_LEAST_EVERY_MS = 10_000;

/** Writes what this process knows of its partitions to `lockstep.partition_state`, for those who report it. */
export class PartitionReports {
  readonly #deps: { readonly db: Database; readonly log: Logger };
  readonly #unapplied = new Map<string, Unapplied>();
  /** Since when partitions are halted, or cannot be read; one that is tried in between stays halted. */
  readonly #haltedSince = new Map<string, Date>();
  /** What was written last, and when by the monotonic clock. */
  #written = { states: '', atMs: Number.NEGATIVE_INFINITY };

  constructor(deps: { readonly db: Database; readonly log: Logger }) {
    this.#deps = deps;
  }

  noteFetched({ topic, partition, messages: [first], following }: ConsumedBatch): void {
    if (first === undefined) return;
    const key = `${topic}/${partition}`;
    const unapplied = this.#unapplied.get(key) ?? new Unapplied();
    this.#unapplied.set(key, unapplied);
    unapplied.note({ end: following, storedAtMs: first.timestampMs });
  }

  /**
   * Writes the states that have changed, or all of them from time to time.
   * @param errorOf why a partition (`topic/partition`) is halted; undefined where it is not.
   */
  async write(partitions: readonly AssignedPartition[], errorOf: (key: string) => unknown): Promise<void> {
    const states = partitions.map((assigned) => this.#stateOf(assigned, errorOf(`${assigned.topic}/${assigned.partition}`)));
    const text = JSON.stringify(states);
    if (states.length === 0 || (text === this.#written.states && performance.now() - this.#written.atMs < AT_LEAST_EVERY_MS)) return;
    await partitionStates(this.#deps.db).note(states);
    this.#written = { states: text, atMs: performance.now() };
  }

  /** The next owner writes its own. What cannot be removed shows by its age. */
  async forget(partitions: readonly TopicPartition[]): Promise<void> {
    const { db, log } = this.#deps;
    this.#written = { states: '', atMs: Number.NEGATIVE_INFINITY };
    for (const [topic, list] of Map.groupBy(partitions, (one) => one.topic)) {
      for (const { partition } of list) {
        this.#unapplied.delete(`${topic}/${partition}`);
        this.#haltedSince.delete(`${topic}/${partition}`);
      }
      await partitionStates(db).forget(topic, list.map(({ partition }) => partition)).catch((error: unknown) => log.warn({ err: error, topic }, 'the state of partitions could not be removed'));
    }
  }

  #stateOf({ topic, partition, projection, next }: AssignedPartition, error: unknown): PartitionState {
    const key = `${topic}/${partition}`;
    if (error === undefined) this.#haltedSince.delete(key);
    else if (!this.#haltedSince.has(key)) this.#haltedSince.set(key, new Date());
    const oldestAtMs = this.#unapplied.get(key)?.oldestAtMs(next) ?? null;
    return {
      topic,
      partition,
      module: projection.module.apiName,
      haltedSince: this.#haltedSince.get(key) ?? null,
      cause: error === undefined ? null : causeOf(error),
      oldestUnappliedAt: oldestAtMs === null ? null : new Date(oldestAtMs),
    };
  }
}

const causeOf = (error: unknown): string => (error instanceof Error ? error.message : 'unknown');
