import { ConsumerError } from './errors.ts';
import type { Transaction } from './definition.ts';

/** A topic and its id, which a topic of the same name that was created again does not share. */
export type Topic = { readonly topic: string; readonly topicId: string };

/** Where a batch begins and ends in its partition. */
export type Span = { readonly partition: number; readonly from: number; readonly to: number };

/** What a partition without a position begins with: offset 0, and effects from an offset on. */
export type Beginning = { readonly partition: number; readonly effectsFrom: number };

/**
 * The next offsets of partitions; those that have none yet begin at 0, and with effects from there on where others of the topic have a position: they were added to the
 * topic since.
 * @throws {ConsumerError} `TOPIC_RECREATED` when the positions belong to another topic of this name.
 */
export async function loadPositions(client: Transaction, schema: string, { topic, topicId }: Topic, beginnings: readonly Beginning[]): Promise<Map<number, number>> {
  const { rows: [other] } = await client.query<{ topic_id: string }>(`select topic_id from ${schema}.position where topic = $1 and topic_id <> $2 limit 1`, [topic, topicId]);
  if (other !== undefined) throw new ConsumerError(`topic ${topic} has id ${topicId}, but the positions belong to ${other.topic_id}: it was created again. Restore it, or hand over everything again: lockstep replay <consumer> --from beginning`, 'TOPIC_RECREATED');
  const partitions = beginnings.map(({ partition }) => partition);
  await client.query(
    `insert into ${schema}.position (topic_id, partition, topic, next_offset, effects_from)
     select $1, p, $2, 0, case when exists (select from ${schema}.position where topic_id = $1) then 0 else e end from unnest($3::int[], $4::bigint[]) u (p, e) on conflict do nothing`,
    [topicId, topic, partitions, beginnings.map(({ effectsFrom }) => effectsFrom)],
  );
  const { rows } = await client.query<{ partition: number; next_offset: string }>(`select partition, next_offset from ${schema}.position where topic_id = $1 and partition = any($2)`, [topicId, partitions]);
  return new Map(rows.map(({ partition, next_offset }) => [partition, Number(next_offset)]));
}

/**
 * Moves a position, in the batch's transaction. The row lock and the comparison with `from` fence off an instance whose partition was handed over.
 * @returns the offset from which on messages have effects.
 * @throws {ConsumerError} `POSITION_TAKEN`.
 */
export async function advance(client: Transaction, schema: string, { topicId }: Topic, { partition, from, to }: Span): Promise<number> {
  const { rows: [row] } = await client.query<{ effects_from: string }>(
    `update ${schema}.position set next_offset = $4, updated_at = now() where topic_id = $1 and partition = $2 and next_offset = $3 returning effects_from`,
    [topicId, partition, from, to],
  );
  if (row === undefined) throw new ConsumerError('another process moved the position of a partition', 'POSITION_TAKEN');
  return Number(row.effects_from);
}
