import { type PartitionSpan, readLog } from '@lockstep/kafka';
import { type ModuleProjection, retryParked } from '@lockstep/projection';

import type { VerifyDeps } from '../verify-module.ts';
import { isForGood } from './plan-mapping.ts';

/** How many messages that did not fit were tried again, and how many of them stand now, or are overtaken. */
export type TriedAgain = { readonly tried: number; readonly resolved: number };

/**
 * Tries contents again that were parked for good: the mapping or the table is another one. Their values are read from the log; what still does not fit is
 * parked as before.
 */
export async function tryParkedAgain({ pool, kafka }: VerifyDeps, projection: ModuleProjection, topic: string, topicId: string): Promise<TriedAgain> {
  const { rows: spans } = await pool.query<{ partition: number; from: string; end: string }>(
    `select partition, min(log_offset) as from, max(log_offset) + 1 as end from lockstep.parked where topic_id = $1 and ${isForGood} group by partition order by partition`,
    [topicId],
  );
  if (spans.length === 0) return { tried: 0, resolved: 0 };
  let tried = 0;
  await readLog(kafka, topic, spans.map(({ partition, from, end }): PartitionSpan => ({ partition, from: Number(from), end: Number(end) })), {
    onMessages: async (partition, messages) => {
      const values = messages.filter(({ value }) => value !== null);
      const { rows } = await pool.query<{ log_offset: string }>(`select log_offset from lockstep.parked where topic_id = $1 and partition = $2 and log_offset between $3 and $4 and ${isForGood}`, [topicId, partition, messages[0]?.offset ?? 0, messages.at(-1)?.offset ?? -1]);
      const wanted = new Set(rows.map((row) => Number(row.log_offset)));
      const again = values.filter(({ offset }) => wanted.has(offset));
      if (again.length === 0) return;
      const { rowCount } = await pool.query(
        `update lockstep.parked p set retryable = true, value = a.value, tries = 0, tried_at = to_timestamp(0) from unnest($3::bigint[], $4::bytea[]) as a (log_offset, value)
         where p.topic_id = $1 and p.partition = $2 and p.log_offset = a.log_offset and ${isForGood}`,
        [topicId, partition, again.map(({ offset }) => offset), again.map(({ value }) => value)],
      );
      tried += rowCount ?? 0;
    },
    onPartitionEnd: async () => undefined,
  });
  return { tried, resolved: await retryAll(pool, projection) };
}

async function retryAll(pool: VerifyDeps['pool'], projection: ModuleProjection): Promise<number> {
  const client = await pool.connect();
  try {
    for (let sum = 0; ; ) {
      const { resolved, waiting } = await retryParked(client, projection);
      sum += resolved;
      if (resolved + waiting === 0) return sum;
    }
  } finally {
    client.release();
  }
}
