import { type Admin, type KafkaClient, type PartitionSpan, readLog } from '@lockstep/kafka';
import type { Pool } from 'pg';

import { bitsOf, KeyFilter } from './key-filter.ts';

export type LogIndexDeps = { readonly pool: Pool; readonly kafka: KafkaClient; readonly admin: Pick<Admin, 'topicId' | 'topicOffsets'> };

/** Messages of a part of the log that has a filter. */
const PART = 10_000;

export type ExtendOptions = {
  /** Awaited after each fetch, to go slowly; its failure ends it. */
  readonly breathe?: () => Promise<void>;
  /** Messages of a part; a filter is made for 10,000 keys. */
  readonly part?: number;
};

/**
 * Makes filters for the parts of a topic that have none yet, as far as they are complete.
 * @returns how many parts were added.
 * @throws {KafkaError} when the log cannot be read.
 */
export async function extendLogIndex({ pool, kafka, admin }: LogIndexDeps, topic: string, { breathe, part = PART }: ExtendOptions = {}): Promise<number> {
  const topicId = await admin.topicId(topic);
  const ends = await indexEnds(pool, topicId);
  const spans = (await admin.topicOffsets(topic)).map(({ partition, low, high }) => {
    const from = Math.max(low, ends.get(partition) ?? low);
    return { partition, from, end: from + Math.floor((high - from) / part) * part };
  });
  const isDue = spans.filter(({ from, end }) => end > from);
  if (isDue.length === 0) return 0;
  let added = 0;
  const building = new Map(isDue.map(({ partition, from }) => [partition, new PartBuilder(from, part)]));
  const note = async (partition: number, parts: readonly Part[]): Promise<void> => {
    for (const { from, to, filter } of parts) {
      await pool.query('insert into lockstep.log_index (topic_id, partition, from_offset, to_offset, filter) values ($1, $2, $3, $4, $5) on conflict do nothing', [topicId, partition, from, to, filter.bytes]);
      added += 1;
    }
  };
  await readLog(kafka, topic, isDue, {
    onMessages: async (partition, messages) => {
      for (const { offset, key } of messages) await note(partition, building.get(partition)?.add(offset, key) ?? []);
      await breathe?.();
    },
    onPartitionEnd: async (partition) => await note(partition, building.get(partition)?.before(isDue.find((span) => span.partition === partition)?.end ?? 0) ?? []),
  });
  return added;
}

type Part = { readonly from: number; readonly to: number; readonly filter: KeyFilter };

/** Cuts a partition into parts of one length. */
class PartBuilder {
  #from: number;
  #filter = new KeyFilter();
  readonly #length: number;

  constructor(from: number, length: number) {
    [this.#from, this.#length] = [from, length];
  }

  /** @returns parts that end before this message. */
  add(offset: number, key: Buffer | null): readonly Part[] {
    const parts = this.before(offset);
    if (key !== null) this.#filter.add(key);
    return parts;
  }

  /** Parts that end before an offset, or at it; none twice. */
  before(offset: number): readonly Part[] {
    if (offset < this.#from + this.#length) return none;
    const parts: Part[] = [];
    for (let to = this.#from + this.#length; to <= offset; to += this.#length) {
      parts.push({ from: this.#from, to, filter: this.#filter });
      [this.#from, this.#filter] = [to, new KeyFilter()];
    }
    return parts;
  }
}

const none: readonly Part[] = [];

async function indexEnds(pool: Pool, topicId: string): Promise<Map<number, number>> {
  const { rows } = await pool.query<{ partition: number; end: string }>('select partition, max(to_offset) as end from lockstep.log_index where topic_id = $1 group by partition', [topicId]);
  return new Map(rows.map(({ partition, end }) => [partition, Number(end)]));
}

/**
 * The parts of a partition in which a key may stand, in order: those whose filter has it, and what has no filter yet.
 * @param low the first offset of the partition.
 * @param high the one that is next.
 */
export async function spansWithKey(pool: Pool, topicId: string, key: Buffer, { partition, low, high }: { readonly partition: number; readonly low: number; readonly high: number }): Promise<PartitionSpan[]> {
  const { rows } = await pool.query<{ from: string; to: string; has: boolean }>(
    `select from_offset as "from", to_offset as "to", ${bitsOf(key).map((bit) => `get_bit(filter, ${bit}) = 1`).join(' and ')} as has
     from lockstep.log_index where topic_id = $1 and partition = $2 order by from_offset`,
    [topicId, partition],
  );
  const parts = rows.map(({ from, to, has }) => ({ from: Number(from), to: Number(to), has }));
  const spans: { from: number; end: number }[] = [];
  const take = (from: number, end: number): void => {
    const last = spans.at(-1);
    if (last?.end === from) last.end = end;
    else spans.push({ from, end });
  };
  let next = low;
  for (const { from, to, has } of parts) {
    if (from > next) take(next, from);
    if (has) take(Math.max(from, next), to);
    next = Math.max(next, to);
  }
  if (high > next) take(next, high);
  return spans.filter(({ from, end }) => end > from).map((span) => ({ partition, ...span }));
}
