import { readLog } from '@lockstep/kafka';
import { topicOf } from '@lockstep/modules';
import { adoptMapping, loadPositions, type LogMessage, type ModuleProjection, projectBatch, ProjectionError } from '@lockstep/projection';

import { RebuildError } from './errors.ts';
import { checkWhole, type VerifyDeps, type VerifyOptions } from './verify-module.ts';

const BATCH = 10_000;

/**
 * Projects a module's whole log, where nothing of it was projected yet: register, positions, rows, and what is parked. Killed, it goes on where it was.
 * @returns how many messages were applied.
 * @throws {RebuildError} `LOG_INCOMPLETE`, `PROJECTOR_AT_WORK`; {@link ProjectionError} `TABLE_UNFIT` with what to do about the table.
 */
export async function replayWhereEmpty({ pool, kafka, admin }: VerifyDeps, projection: ModuleProjection, { topic = topicOf(projection.module), onProgress }: VerifyOptions): Promise<number> {
  const { rows: [standing] } = await pool.query<{ is_empty: boolean }>('select not exists (select from lockstep.projection_offset where topic = $1 and next_offset > 0) as is_empty', [topic]);
  const { rows: [unfinished] } = await pool.query<{ is_unfinished: boolean }>(`select exists (select from lockstep.setting where name = $1) as is_unfinished`, [unfinishedName(topic)]);
  if (standing?.is_empty !== true && unfinished?.is_unfinished !== true) return 0;
  await checkWhole(admin, topic);
  await adoptMapping(pool, projection);
  await pool.query(`insert into lockstep.setting (name, value) values ($1, '1') on conflict (name) do nothing`, [unfinishedName(topic)]);
  const topicId = await admin.topicId(topic);
  const ends = await admin.topicOffsets(topic);
  const client = await pool.connect();
  try {
    const positions = await loadPositions(client, { topic, topicId, partitions: ends.map(({ partition }) => partition) });
    const spans = ends.map(({ partition, high }) => ({ partition, from: positions.get(partition) ?? 0, end: high }));
    const ofMessages = spans.reduce((sum, { from, end }) => sum + Math.max(0, end - from), 0);
    let messages = 0;
    let batch: LogMessage[] = [];
    const apply = async (partition: number): Promise<void> => {
      const last = batch.at(-1);
      if (last === undefined) return;
      const to = last.offset + 1;
      await projectBatch(client, projection, { topic, topicId, messages: batch, positions: new Map([[partition, { from: positions.get(partition) ?? 0, to }]]) });
      positions.set(partition, to);
      messages += batch.length;
      batch = [];
      onProgress?.({ messages, ofMessages });
    };
    await readLog(kafka, topic, spans, {
      onMessages: async (partition, some) => {
        for (const { offset, value } of some) batch.push({ partition, offset, value });
        if (batch.length >= BATCH) await apply(partition);
      },
      onPartitionEnd: apply,
    });
    await client.query('delete from lockstep.setting where name = $1', [unfinishedName(topic)]);
    return messages;
  } catch (error) {
    if (!(error instanceof ProjectionError) || error.code !== 'POSITION_TAKEN') throw error;
    throw new RebuildError('a projector fills the table from the log already: let it, and verify afterwards', 'PROJECTOR_AT_WORK', { cause: error });
  } finally {
    client.release();
  }
}

const unfinishedName = (topic: string): string => `replay ${topic}`;
