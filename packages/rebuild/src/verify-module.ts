import { type Admin, type KafkaClient, KafkaError, type PartitionSpan } from '@lockstep/kafka';
import { topicOf } from '@lockstep/modules';
import { type ModuleProjection, standingMapping } from '@lockstep/projection';
import type { Pool, PoolClient } from 'pg';

import { cancelWhenAborted } from './cancel-when-aborted.ts';
import { compareDigests, type ExpectedDigests } from './compare-digests.ts';
import { type Differences, findDifferences } from './differences.ts';
import { RebuildError } from './errors.ts';
import { foldSuspects } from './fold-suspects.ts';
import { lendClient } from './lend-client.ts';
import type { Shadow } from './shadow.ts';

export type VerifyDeps = { readonly pool: Pool; readonly kafka: KafkaClient; readonly admin: Pick<Admin, 'checkLogTopic' | 'partitionsOf' | 'topicId' | 'topicOffsets'> };

export type VerifyOptions = {
  /** The module's own topic by default. */
  readonly topic?: string;
  /** How many differences of each kind are named; 1,000 by default. All are counted. */
  readonly atMost?: number;
  /** Whether a mapping is compared that the projector does not write by: false by default. */
  readonly isOtherMapping?: boolean;
  /** Called after each fetch. */
  readonly onProgress?: (progress: { readonly messages: number; readonly ofMessages: number }) => void;
  /** Awaited after each fetch, to go slowly; its failure ends the reading. */
  readonly breathe?: () => Promise<void>;
  /** Ends the reading, a statement that runs included. */
  readonly signal?: AbortSignal;
};

/** What a module's register and table are, beside what its log amounts to up to some offsets. */
export type Verification = Differences & {
  readonly module: string;
  readonly topic: string;
  readonly topicId: string;
  /** The offsets that the projector stood at: the messages before them were folded. */
  readonly positions: readonly Required<Pick<PartitionSpan, 'partition' | 'end'>>[];
  readonly messages: number;
  /** Records that the log knows, those that were deleted included. */
  readonly records: number;
  /** Those of them that a digest did not settle, which were compared column by column. */
  readonly inDetail: number;
  /** Messages that are parked, and so are no part of register and table yet. */
  readonly parked: number;
};

/**
 * Folds a module's topic from offset 0 up to where the projector stands, and compares that with the module's register and table, all of it in one
 * snapshot of the database while the projector goes on. Nothing is written.
 * @throws {RebuildError} see its codes; {@link KafkaError} when the log cannot be read.
 */
export async function verifyModule(deps: VerifyDeps, projection: ModuleProjection, options: VerifyOptions = {}): Promise<Verification> {
  const client = await lendClient(deps.pool);
  let unwatch = (): void => undefined;
  try {
    unwatch = await cancelWhenAborted(deps.pool, client, options.signal);
    await client.query('begin isolation level repeatable read');
    return (await inSnapshot(client, deps, projection, options)).verification;
  } finally {
    unwatch();
    // The temporary tables go with it.
    await client.query('rollback').then(() => client.release(), (error: Error) => client.release(error));
  }
}

/**
 * The same in a transaction that is open, whose temporary tables `difference`, `shadow_register` and `shadow_content` stay. The shadow has the records
 * that may differ, and no others.
 */
export async function inSnapshot(client: PoolClient, { kafka, admin }: Omit<VerifyDeps, 'pool'>, projection: ModuleProjection, { topic = topicOf(projection.module), atMost = 1_000, isOtherMapping = false, onProgress, breathe, signal }: VerifyOptions, known?: LoadedDigests): Promise<{ readonly verification: Verification; readonly shadow: Shadow }> {
  const { module } = projection;
  await checkWhole(admin, topic);
  const topicId = await admin.topicId(topic);
  const positions = await readPositions(client, module.apiName, topic, topicId);
  await checkReaches(admin, topic, positions);
  if (!isOtherMapping && (await standingMapping(client, projection)) !== projection.fingerprint) {
    throw new RebuildError(`the projector writes ${module.apiName} by another mapping than this build's: use the same build, or the same definition`, 'MAPPING_CHANGED');
  }
  await projection.readTable(client);
  // It is idle for as long as nothing of the log differs.
  await client.query('set local idle_in_transaction_session_timeout = 0');
  const skipped = await readParked(client, topicId);
  const ofMessages = positions.reduce((sum, { end }) => sum + end, 0);
  const onMessages = async (messages: number): Promise<void> => {
    onProgress?.({ messages, ofMessages });
    signal?.throwIfAborted();
    await breathe?.();
  };
  const log = { kafka, topic, positions, skipped, onMessages };
  const { messages, records, suspects } = await compareDigests(client, projection, log, stillHolds(known, positions) ? known : undefined);
  const { shadow, inDetail } = await foldSuspects(client, projection, log, suspects);
  await checkOnePlace(client, topic);
  const found = await findDifferences(client, projection, shadow, { atMost, suspects });
  const { rows: [waiting] } = await client.query<{ n: number }>('select count(*)::int as n from lockstep.parked where topic_id = $1 and resolved_at is null', [topicId]);
  return { shadow, verification: { module: module.apiName, topic, topicId, positions, messages, records, inDetail, parked: waiting?.n ?? 0, ...found } };
}

/** What table and register are to be once a log was loaded up to its ends. */
export type LoadedDigests = ExpectedDigests & { readonly ends: ReadonlyMap<number, number> };

/** Whether nothing was applied since. */
const stillHolds = (known: LoadedDigests | undefined, positions: readonly PartitionSpan[]): boolean => known !== undefined && positions.length === known.ends.size && positions.every(({ partition, end }) => known.ends.get(partition) === end);

export async function checkWhole(admin: VerifyDeps['admin'], topic: string): Promise<void> {
  try {
    await admin.checkLogTopic(topic, { allowSingleReplica: true });
  } catch (error) {
    if (!(error instanceof KafkaError) || !['TOPIC_MISSING', 'TOPIC_COMPACTED', 'TOPIC_TRUNCATED'].includes(error.code)) throw error;
    throw new RebuildError(`${error.message}. What the log does not hold cannot be compared or rebuilt`, 'LOG_INCOMPLETE', { cause: error });
  }
}

export async function readPositions(client: PoolClient, apiName: string, topic: string, topicId: string): Promise<PartitionSpan[]> {
  const { rows } = await client.query<{ topic_id: string; partition: number; end: string }>('select topic_id, partition, next_offset as end from lockstep.projection_offset where topic = $1 order by partition', [topic]);
  const other = rows.find((row) => row.topic_id !== topicId);
  if (other !== undefined) throw new RebuildError(`topic ${topic} was created again: it has the id ${topicId}, and the table was projected from ${other.topic_id}. Restore that one`, 'LOG_INCOMPLETE');
  if (rows.every(({ end }) => end === '0')) throw new RebuildError(`nothing of ${apiName} was projected yet: start the projector`, 'NOTHING_PROJECTED');
  return rows.map(({ partition, end }) => ({ partition, end: Number(end) }));
}

export async function checkReaches(admin: VerifyDeps['admin'], topic: string, positions: readonly PartitionSpan[]): Promise<void> {
  const offsets = new Map((await admin.topicOffsets(topic)).map(({ partition, high }) => [partition, high]));
  const beyond = positions.find(({ partition, end }) => end > (offsets.get(partition) ?? 0));
  if (beyond !== undefined) throw new RebuildError(`the table was projected up to offset ${beyond.end} of ${topic}/${beyond.partition}, and the log ends at ${offsets.get(beyond.partition) ?? 0}: its end is lost`, 'LOG_INCOMPLETE');
}

/** The order of a record's messages is that of its partition; where it has two, which happens when partitions are added to a topic, the log does not say it. */
async function checkOnePlace(client: PoolClient, topic: string): Promise<void> {
  const { rows: [one] } = await client.query<{ id: string }>('select record_id::text as id from shadow_register group by record_id having count(*) > 1 limit 1');
  if (one !== undefined) throw new RebuildError(`record ${one.id} has messages in two partitions of ${topic}: partitions were added to the topic, so the log does not say which came first`, 'LOG_REPARTITIONED');
}

/**
 * Whether the content of a parked message stands nowhere: it is not resolved, or was without having been applied. Of what waited and was applied
 * later, the value is not kept, and neither is the word that it never fits.
 */
export const standsNowhere = '(resolved_at is null or value is not null or not retryable)';

export async function readParked(client: PoolClient, topicId: string): Promise<Map<number, ReadonlySet<number>>> {
  const { rows } = await client.query<{ partition: number; log_offset: string }>(`select partition, log_offset from lockstep.parked where topic_id = $1 and ${standsNowhere}`, [topicId]);
  return new Map([...Map.groupBy(rows, ({ partition }) => partition)].map(([partition, of]) => [partition, new Set(of.map(({ log_offset: offset }) => Number(offset)))]));
}
