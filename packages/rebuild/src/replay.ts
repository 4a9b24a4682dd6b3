import { readLog } from '@lockstep/kafka';
import { topicOf } from '@lockstep/modules';
import { adoptMapping, faultOfData, loadPositions, type LogMessage, type ModuleProjection, projectBatch, ProjectionError, standingMapping } from '@lockstep/projection';
import { crashPoint } from '@lockstep/telemetry';
import type { PoolClient } from 'pg';

import { RebuildError } from './errors.ts';
import { lendClient } from './lend-client.ts';
import { type Loaded, type LoadedPartition, NotSimple, PartitionLoad } from './load-partition.ts';
import { LogDigests } from './log-digests.ts';
import { projectLeft } from './project-left.ts';
import { RecordTable } from './record-table.ts';
import { checkWhole, type LoadedDigests, type VerifyDeps, type VerifyOptions } from './verify-module.ts';

const BATCH = 10_000;

/** What was applied: how many messages, and, where all of it was loaded, what table and register are to be up to which positions. */
export type Replayed = { readonly messages: number; readonly expected?: LoadedDigests };

/**
 * Applies a module's whole log, where nothing of it was projected yet: register, positions, rows, and what is parked. Each partition of which nothing was applied
 * is loaded in a transaction of its own; the projector's way is taken for what is not simple. Killed, it goes on where it was.
 * @throws {RebuildError} `LOG_INCOMPLETE`, `PROJECTOR_AT_WORK`; {@link ProjectionError} `TABLE_UNFIT` with what to do about the table.
 */
export async function replayWhereEmpty({ pool, kafka, admin }: VerifyDeps, projection: ModuleProjection, { topic = topicOf(projection.module), onProgress }: VerifyOptions): Promise<Replayed> {
  const { rows: [standing] } = await pool.query<{ is_empty: boolean }>('select not exists (select from lockstep.projection_offset where topic = $1 and next_offset > 0) as is_empty', [topic]);
  const { rows: [unfinished] } = await pool.query<{ is_unfinished: boolean }>(`select exists (select from lockstep.setting where name = $1) as is_unfinished`, [unfinishedName(topic)]);
  if (standing?.is_empty !== true && unfinished?.is_unfinished !== true) return { messages: 0 };
  await checkWhole(admin, topic);
  await adoptMapping(pool, projection);
  await pool.query(`insert into lockstep.setting (name, value) values ($1, '1') on conflict (name) do nothing`, [unfinishedName(topic)]);
  const topicId = await admin.topicId(topic);
  const ends = await admin.topicOffsets(topic);
  const client = await lendClient(pool);
  let ahead: PartitionLoad | undefined;
  try {
    const positions = await loadPositions(client, { topic, topicId, partitions: ends.map(({ partition }) => partition) });
    const ofMessages = ends.reduce((sum, { partition, high }) => sum + Math.max(0, high - (positions.get(partition) ?? 0)), 0);
    const digests = new LogDigests(projection);
    let [messages, records, loaded] = [0, 0, 0];
    const onMessages = (count: number): void => {
      messages += count;
      onProgress?.({ messages, ofMessages });
    };
    // A partition is folded while the one before it is written: two at a time.
    const tables = [new RecordTable(), new RecordTable()];
    const wholeOf = (index: number): LoadedPartition | undefined => ends[index] && { kafka, topic, topicId, partition: ends[index].partition, end: ends[index].high, records: tables[index % 2] as RecordTable };
    const begin = (whole: LoadedPartition): PartitionLoad | undefined => loadOf(projection, whole, positions.get(whole.partition) ?? 0, digests, onMessages);
    for (const [index, { partition, high }] of ends.entries()) {
      const from = positions.get(partition) ?? 0;
      const whole = wholeOf(index) as LoadedPartition;
      const load = ahead ?? begin(whole);
      const following = wholeOf(index + 1);
      ahead = following && begin(following);
      const found = load === undefined ? null : await loadPartition(client, projection, whole, load);
      if (found !== null) {
        records += found;
        loaded += 1;
        continue;
      }
      messages -= load?.messages ?? 0;
      await projectPartition(client, projection, { ...whole, from }, onMessages);
      if (high === 0) loaded += 1;
    }
    await client.query('delete from lockstep.setting where name = $1', [unfinishedName(topic)]);
    if (loaded < ends.length) return { messages };
    return { messages, expected: { sums: digests.sums, hasher: digests.hasher, messages, records, ends: new Map(ends.map(({ partition, high }) => [partition, high])) } };
  } catch (error) {
    if (!(error instanceof ProjectionError) || error.code !== 'POSITION_TAKEN') throw error;
    throw atWork({ cause: error });
  } finally {
    await ahead?.abandon();
    client.release();
  }
}

const unfinishedName = (topic: string): string => `replay ${topic}`;

const atWork = (options?: ErrorOptions): RebuildError => new RebuildError('a projector fills the table from the log already: let it, and verify afterwards', 'PROJECTOR_AT_WORK', options);

/** Begins to load a partition of which nothing was applied yet; undefined where there is none. */
function loadOf(projection: ModuleProjection, whole: LoadedPartition, from: number, digests: LogDigests, onMessages: (count: number) => void): PartitionLoad | undefined {
  // A trigger may change what is written, or keep it from being written: the projector looks.
  if (from > 0 || whole.end === 0 || projection.table.triggers.length > 0) return undefined;
  return new PartitionLoad(projection, whole, digests, onMessages);
}

/** Writes what was folded of a partition of which nothing was applied yet. @returns how many records it has; null where the projector is to project it. */
async function loadPartition(client: PoolClient, projection: ModuleProjection, from: LoadedPartition, load: PartitionLoad): Promise<number | null> {
  const { topicId, partition, end } = from;
  await client.query('begin');
  let loaded: Loaded;
  try {
    const { rows: [position] } = await client.query<{ next_offset: string }>('select next_offset from lockstep.projection_offset where topic_id = $1 and partition = $2 for update', [topicId, partition]);
    if (position?.next_offset !== '0') throw atWork();
    if ((await standingMapping(client, projection)) !== projection.fingerprint) throw new RebuildError(`the mapping of ${projection.module.apiName} was changed meanwhile`, 'MAPPING_CHANGED');
    projection.checkShape((await client.query(projection.shapeStatement)).rows);
    const { rows: [begun] } = await client.query<{ is_begun: boolean }>(`select exists (select from lockstep.record_version_${projection.module.slug} where log_partition = $1) as is_begun`, [partition]);
    if (begun?.is_begun === true) throw new NotSimple('the projector has begun');
    loaded = await load.write(client);
    const isAll = loaded.left.ids.size + loaded.left.offsets.size === 0;
    if (isAll) await client.query('update lockstep.projection_offset set next_offset = $3, updated_at = now() where topic_id = $1 and partition = $2', [topicId, partition, end]);
    crashPoint('partition-sent');
    await client.query('commit');
    crashPoint('partition-loaded');
    if (!isAll) await projectLeft(client, projection, from, loaded.left);
  } catch (error) {
    await load.abandon();
    await client.query('rollback').catch(() => undefined);
    if (error instanceof NotSimple || faultOfData(error) !== null) return null;
    throw error;
  }
  return loaded.records;
}

/** Projects a partition from an offset on, as the projector does. */
async function projectPartition(client: PoolClient, projection: ModuleProjection, { kafka, topic, topicId, partition, from, end }: LoadedPartition & { readonly from: number }, onMessages: (count: number) => void): Promise<void> {
  let position = from;
  let batch: LogMessage[] = [];
  const apply = async (): Promise<void> => {
    const last = batch.at(-1);
    if (last === undefined) return;
    const to = last.offset + 1;
    await projectBatch(client, projection, { topic, topicId, messages: batch, positions: new Map([[partition, { from: position, to }]]) });
    const { length } = batch;
    [position, batch] = [to, []];
    onMessages(length);
  };
  await readLog(kafka, topic, [{ partition, from, end }], {
    onMessages: async (_, some) => {
      for (const { offset, value } of some) batch.push({ partition, offset, value });
      if (batch.length >= BATCH) await apply();
    },
    onPartitionEnd: apply,
  });
}
