import type { KafkaError, TopicPartition } from '@lockstep/kafka';
import { OF_HINTS, type PartitionStates } from '@lockstep/postgres';
import type { Logger } from '@lockstep/telemetry';

export type UnreadHintsDeps = { readonly partitions: Pick<PartitionStates, 'note' | 'forget'>; readonly log: Logger };

/** What is not noted for a minute counts as over. */
const AT_LEAST_EVERY_MS = 10_000;

type Unread = TopicPartition & { readonly since: Date; readonly cause: string };

/** Partitions of stored hints that cannot be read on, noted in `lockstep.partition_state` for those who report it. Catch-ups find what such hints announce. */
export class UnreadHints {
  readonly #deps: UnreadHintsDeps;
  readonly #unread = new Map<number, Unread>();
  #readAgain: TopicPartition[] = [];
  #notedAtMs = Number.NEGATIVE_INFINITY;

  constructor(deps: UnreadHintsDeps) {
    this.#deps = deps;
  }

  add({ topic, partition }: TopicPartition, error: KafkaError): void {
    this.#unread.set(partition, { topic, partition, since: this.#unread.get(partition)?.since ?? new Date(), cause: error.message });
    this.#notedAtMs = Number.NEGATIVE_INFINITY;
    this.#deps.log.error({ err: error, topic, partition }, 'hints of a partition cannot be read; catch-ups find what they announced');
  }

  /** Its next hints have come. */
  remove({ topic, partition }: TopicPartition): void {
    if (!this.#unread.delete(partition)) return;
    this.#readAgain.push({ topic, partition });
    this.#deps.log.info({ topic, partition }, 'hints of a partition can be read again');
  }

  /** All partitions belong to others, or are read from another position. */
  clear(): void {
    for (const place of this.#unread.values()) this.remove(place);
  }

  /** Writes what has changed, and all of it from time to time. */
  async note(): Promise<void> {
    const { partitions } = this.#deps;
    for (let place = this.#readAgain[0]; place !== undefined; [place] = this.#readAgain) {
      if (!this.#unread.has(place.partition)) await partitions.forget(place.topic, [place.partition]);
      this.#readAgain.shift();
    }
    if (this.#unread.size === 0 || performance.now() - this.#notedAtMs < AT_LEAST_EVERY_MS) return;
    await partitions.note([...this.#unread.values()].map(({ topic, partition, since, cause }) => ({ topic, partition, module: OF_HINTS, haltedSince: since, cause, oldestUnappliedAt: null })));
    this.#notedAtMs = performance.now();
  }
}
