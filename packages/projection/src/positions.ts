import type { PoolClient, QueryResult } from 'pg';

import { ProjectionError } from './errors.ts';
import type { Batch } from './apply-batch.ts';
import type { ModuleProjection } from './module-projection.ts';
import { prepared, type Statement } from './statements.ts';

/** For each partition: the next offset before the batch, and after it. */
export type Positions = ReadonlyMap<number, { readonly from: number; readonly to: number }>;

const move = prepared(`
  update lockstep.projection_offset o set next_offset = s.to_offset, updated_at = now()
  from (select * from unnest($2::int[], $3::bigint[], $4::bigint[]) as u (partition, from_offset, to_offset) order by partition) s
  where o.topic_id = $1 and o.partition = s.partition and o.next_offset = s.from_offset
    and exists (select from lockstep.mapping where module = $5 and fingerprint = $6)`);

/**
 * Moves the positions, in the batch's transaction. The row lock and the comparison with `from` fence off a process whose
 * partition was handed over; the mapping's fingerprint one that was built before the mapping changed. See {@link checkAdvanced}.
 */
export function advance({ module, fingerprint }: ModuleProjection, { topicId, positions }: Batch): Statement {
  const ends = [...positions.values()];
  return { ...move, values: [topicId, [...positions.keys()], ends.map(({ from }) => from), ends.map(({ to }) => to), module.apiName, fingerprint] };
}

/** @throws {ProjectionError} `POSITION_TAKEN` or `MAPPING_CHANGED` unless {@link advance} moved every position. */
export async function checkAdvanced(client: PoolClient, { module, fingerprint }: ModuleProjection, { positions }: Batch, moved: QueryResult | undefined): Promise<void> {
  if (moved?.rowCount === positions.size) return;
  const { rows } = await client.query('select from lockstep.mapping where module = $1 and fingerprint = $2', [module.apiName, fingerprint]);
  if (rows.length === 0) throw new ProjectionError(`the mapping of ${module.apiName} was changed by a newer build; stop this process`, 'MAPPING_CHANGED');
  throw new ProjectionError('another process moved the position of a partition', 'POSITION_TAKEN');
}

/**
 * The next offsets of a topic's partitions, noted as 0 where nothing was applied yet.
 * @throws {ProjectionError} `TOPIC_RECREATED` when the positions belong to another topic of this name.
 */
export async function loadPositions(
  client: Pick<PoolClient, 'query'>,
  { topic, topicId, partitions }: { topic: string; topicId: string; partitions: readonly number[] },
): Promise<Map<number, number>> {
  const { rows: others } = await client.query<{ topic_id: string }>('select topic_id from lockstep.projection_offset where topic = $1 and topic_id <> $2 limit 1', [topic, topicId]);
  if (others[0] !== undefined) {
    throw new ProjectionError(
      `topic ${topic} has id ${topicId}, but the positions belong to ${others[0].topic_id}: it was created again. Restore it, or rebuild the table from it`,
      'TOPIC_RECREATED',
    );
  }
  await client.query(
    `insert into lockstep.projection_offset (topic_id, partition, topic, next_offset)
     select $1, p, $2, 0 from unnest($3::int[]) p on conflict do nothing`,
    [topicId, topic, partitions],
  );
  const { rows } = await client.query<{ partition: number; next_offset: string }>(
    'select partition, next_offset from lockstep.projection_offset where topic_id = $1 and partition = any($2)',
    [topicId, partitions],
  );
  return new Map(rows.map((row) => [row.partition, Number(row.next_offset)]));
}
