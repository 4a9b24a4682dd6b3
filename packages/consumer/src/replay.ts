import type { Admin } from '@lockstep/kafka';
import type { Pool } from 'pg';

import { inTransaction } from './apply-batch.ts';
import type { Transaction } from './definition.ts';
import { ConsumerError } from './errors.ts';
import { isAlone } from './instance-lock.ts';
import { schemaOf } from './schema.ts';

/** From where on effects happen again: in each partition from an offset, in named partitions only, or for what was appended from a time on. */
export type ReplayFrom =
  | { readonly kind: 'beginning' }
  | { readonly kind: 'offset'; readonly offset: number }
  | { readonly kind: 'offsets'; readonly offsets: ReadonlyMap<number, number> }
  | { readonly kind: 'time'; readonly ms: number };

/** Where a partition's effects begin. */
export type ReplayedPartition = { readonly topic: string; readonly partition: number; readonly effectsFrom: number; readonly end: number };

export type ReplayDeps = { readonly pool: Pool; readonly admin: Admin };

/**
 * Sets a consumer back to the beginning of the log, for its next start. From the beginning, everything is handed over again. From an offset or a time, what lies
 * before is folded without effects, and what follows is handed over again; of partitions that are not named nothing is. What was parked is found again; deliveries of what is handed over again are made
 * again, with the same keys, those of what lies before stay.
 * @throws {ConsumerError} `CONSUMER_RUNNING`, `CONSUMER_UNKNOWN`, `TOPIC_RECREATED`, `POSITION_INVALID`: nothing was changed.
 * @throws {KafkaError} `TOPIC_TRUNCATED` and whatever else says that the log is not whole.
 */
export async function replay({ pool, admin }: ReplayDeps, name: string, from: ReplayFrom): Promise<ReplayedPartition[]> {
  const schema = schemaOf(name);
  await checkKnown(pool, name, schema);
  return await inTransaction(pool, async (client) => {
    if (!(await isAlone(client, name))) throw new ConsumerError(`an instance of ${name} runs. Stop every instance, run this again, and start them`, 'CONSUMER_RUNNING');
    const { rows: topics } = await client.query<{ topic: string; ids: string[] }>(`select topic, array_agg(distinct topic_id) as ids from ${schema}.position group by topic order by topic`);
    const replayed: ReplayedPartition[] = [];
    for (const { topic, ids } of topics) {
      await admin.checkLogTopic(topic, { allowSingleReplica: true });
      const topicId = await admin.topicId(topic);
      if (from.kind !== 'beginning' && ids.some((id) => id !== topicId)) throw new ConsumerError(`topic ${topic} was created again: only --from beginning is possible`, 'TOPIC_RECREATED');
      const partitions = await effectsOf(client, admin, { schema, topic, from });
      await setBack(client, schema, { topic, topicId, partitions });
      replayed.push(...partitions);
    }
    await client.query(`truncate ${schema}.newest`);
    await client.query(`truncate ${schema}.parked`);
    return replayed;
  });
}

async function checkKnown(pool: Pool, name: string, schema: string): Promise<void> {
  const { rows } = await pool.query<{ nspname: string }>(`select nspname from pg_namespace n where to_regclass(format('%I.position', nspname)) is not null and nspname like 'consumer\\_%' order by 1`);
  if (rows.some(({ nspname }) => nspname === schema)) return;
  const others = rows.map(({ nspname }) => nspname.replace('consumer_', '').replaceAll('_', '-'));
  throw new ConsumerError(`no consumer "${name}" has run in this database${others.length === 0 ? '' : `; there are ${others.join(', ')}`}. CONSUMER_DATABASE_URL names another one`, 'CONSUMER_UNKNOWN');
}

type Effects = { readonly schema: string; readonly topic: string; readonly from: ReplayFrom };

async function effectsOf(client: Transaction, admin: Admin, { schema, topic, from }: Effects): Promise<ReplayedPartition[]> {
  const offsets = await admin.topicOffsets(topic);
  const byTime = from.kind === 'time' ? await admin.offsetsAt(topic, from.ms) : new Map<number, number>();
  const { rows } = await client.query<{ partition: number; next_offset: string }>(`select partition, greatest(next_offset, effects_from) as next_offset from ${schema}.position where topic = $1`, [topic]);
  // Of what was to have no effects, nothing is handed over because another partition is named.
  const standing = new Map(rows.map((row) => [row.partition, Number(row.next_offset)]));
  if (from.kind === 'offsets') for (const partition of from.offsets.keys()) if (!offsets.some((one) => one.partition === partition)) throw new ConsumerError(`${topic} has no partition ${partition}; it has ${offsets.length}`, 'POSITION_INVALID');
  return offsets.map(({ partition, high }) => {
    const effectsFrom = effectsFromOf(from, { timed: byTime.get(partition), standing: standing.get(partition) ?? 0, partition });
    if (effectsFrom > high) throw new ConsumerError(`${topic}/${partition} ends at offset ${high}, and ${effectsFrom} lies behind it`, 'POSITION_INVALID');
    return { topic, partition, effectsFrom, end: high };
  });
}

function effectsFromOf(from: ReplayFrom, { timed = 0, standing, partition }: { readonly timed: number | undefined; readonly standing: number; readonly partition: number }): number {
  switch (from.kind) {
    case 'beginning':
      return 0;
    case 'offset':
      return from.offset;
    case 'offsets':
      return from.offsets.get(partition) ?? standing;
    case 'time':
      return timed;
  }
}

/** Deliveries of what is handed over again are removed: they are made again, and sent again. */
async function setBack(client: Transaction, schema: string, { topic, topicId, partitions }: { readonly topic: string; readonly topicId: string; readonly partitions: readonly ReplayedPartition[] }): Promise<void> {
  const values = [topicId, partitions.map(({ partition }) => partition), partitions.map(({ effectsFrom }) => effectsFrom)];
  const { rows: old } = await client.query<{ topic_id: string }>(`delete from ${schema}.position where topic = $1 returning topic_id`, [topic]);
  await client.query(`insert into ${schema}.position (topic_id, partition, topic, next_offset, effects_from) select $1, p, $4, 0, e from unnest($2::int[], $3::bigint[]) u (p, e)`, [...values, topic]);
  await client.query(`delete from ${schema}.outbox o using unnest($2::int[], $3::bigint[]) u (p, e) where o.topic_id = $1 and o.partition = u.p and o.log_offset >= u.e`, values);
  await client.query(`delete from ${schema}.outbox where topic_id = any($1) and topic_id <> $2`, [old.map(({ topic_id }) => topic_id), topicId]);
}
