import { type PartitionSpan, readLog } from '@lockstep/kafka';
import { topicOf } from '@lockstep/modules';
import { type ColumnChange, mappingChange, type MappingChange, mappingState, ModuleProjection, type PlannedColumn, plannedTable, type PlannedTable } from '@lockstep/projection';
import type { PoolClient } from 'pg';

import type { Difference } from '../differences.ts';
import { checkReaches, checkWhole, inSnapshot, readParked, readPositions, type VerifyDeps, type VerifyOptions } from '../verify-module.ts';
import { type ChangedRow, countChanges } from './count-changes.ts';
import { FieldFold, type UnfitContent } from './field-fold.ts';
import { fieldRows } from './field-rows.ts';

export type PlanOptions = Pick<VerifyOptions, 'topic' | 'atMost' | 'onProgress'>;

/** What a changed definition would do on the stored log. */
export type MappingPlan = {
  readonly module: string;
  readonly topic: string;
  /** The mapping that is written by, and that of this build. */
  readonly standing: string | null;
  readonly fingerprint: string;
  /** False where it is not known by what the table was filled: then all of it was compared. */
  readonly isKnown: boolean;
  readonly changes: readonly ColumnChange[];
  readonly onDelete: MappingChange['onDelete'];
  /** Statements that the table's owner runs before: columns that are missing, and those that are declared with another type than before and have another. */
  readonly missing: readonly PlannedColumn[];
  readonly retyped: readonly PlannedColumn[];
  /** What keeps the mapping from being adopted, each with its remedy, beside missing columns. */
  readonly faults: readonly string[];
  readonly notes: readonly string[];
  /** The offsets up to which the log was folded. */
  readonly positions: readonly PartitionSpan[];
  /** Rows of which a value would change, how many of each column, and the first of them by id. */
  readonly rows: number;
  readonly columns: Readonly<Record<string, number>>;
  readonly found: readonly ChangedRow[];
  /** Where rows of deleted records are treated in another way, or nothing is known: rows that would be written, removed, or get another mark of deletion. */
  readonly added: number;
  readonly removed: number;
  readonly marked: number;
  readonly others: readonly Difference[];
  /** Contents that stand and would not fit: their rows would be left as they are. All are counted. */
  readonly unfitCount: number;
  readonly unfit: readonly UnfitContent[];
  /** Messages that do not fit as it is, and would be tried again. */
  readonly parked: number;
  /** Whether anything would change. */
  readonly isChange: boolean;
};

/**
 * Says what this build's definition of a module would do on the stored log, in one snapshot of the database while the projector goes on. Nothing is
 * written. Only columns that are not known to be filled are folded and compared.
 * @throws {RebuildError} `LOG_INCOMPLETE`, `NOTHING_PROJECTED`; {@link KafkaError} when the log cannot be read.
 */
export async function planMapping(deps: VerifyDeps, projection: ModuleProjection, options: PlanOptions = {}): Promise<MappingPlan> {
  const client = await deps.pool.connect();
  try {
    await client.query('begin isolation level repeatable read; set local idle_in_transaction_session_timeout = 0');
    return await planInSnapshot(client, deps, projection, options);
  } finally {
    // The temporary tables go with it.
    await client.query('rollback').then(() => client.release(), (error: Error) => client.release(error));
  }
}

async function planInSnapshot(client: PoolClient, deps: VerifyDeps, projection: ModuleProjection, { topic = topicOf(projection.module), atMost = 1_000, onProgress }: PlanOptions): Promise<MappingPlan> {
  const { module, fingerprint } = projection;
  await checkWhole(deps.admin, topic);
  const topicId = await deps.admin.topicId(topic);
  const positions = await readPositions(client, module.apiName, topic, topicId);
  await checkReaches(deps.admin, topic, positions);
  const state = await mappingState(client, module);
  const change = mappingChange(state?.complete ?? null, module);
  const planned = await plannedTable(client, module, new Set(change.fields.map(({ column }) => column)));
  const at = { topic, topicId, positions, atMost, onProgress };
  const fields = await planFields(client, deps, projection, change, planned, at);
  const rows = await planRows(client, deps, projection, change, planned, { topic, atMost, ...(onProgress && { onProgress }) });
  const { rows: [parked] } = await client.query<{ n: number }>(`select count(*)::int as n from lockstep.parked where topic_id = $1 and ${isForGood}`, [topicId]);
  const isOther = state?.fingerprint !== fingerprint;
  return {
    module: module.apiName,
    topic,
    standing: state?.fingerprint ?? null,
    fingerprint,
    isKnown: change.isKnown,
    changes: change.columns,
    onDelete: change.onDelete,
    missing: planned.missing,
    retyped: planned.retyped,
    faults: planned.faults,
    notes: planned.notes,
    positions,
    ...fields,
    ...rows,
    parked: parked?.n ?? 0,
    isChange: isOther || change.columns.length > 0 || change.onDelete !== null || fields.rows + rows.added + rows.removed + rows.marked > 0,
  };
}

/** Contents that are parked until their mapping or table changes. */
export const isForGood = 'resolved_at is null and not retryable and record_id is not null and modified_ms is not null';

type At = { readonly topic: string; readonly topicId: string; readonly positions: readonly PartitionSpan[]; readonly atMost: number; readonly onProgress: VerifyOptions['onProgress'] };
type PlannedFields = Pick<MappingPlan, 'rows' | 'columns' | 'found' | 'unfitCount' | 'unfit'>;

/** The module with these fields alone. */
export const narrowed = ({ module, epsilonMs }: ModuleProjection, { fields }: Pick<MappingChange, 'fields'>): ModuleProjection => new ModuleProjection({ ...module, fields }, epsilonMs);

async function planFields(client: PoolClient, { kafka }: VerifyDeps, projection: ModuleProjection, change: MappingChange, planned: PlannedTable, { topic, topicId, positions, atMost, onProgress }: At): Promise<PlannedFields> {
  if (change.fields.length === 0 || planned.table === null) return { rows: 0, columns: {}, found: [], unfitCount: 0, unfit: [] };
  const narrow = narrowed(projection, change);
  narrow.assumeTable(planned.table);
  const retyped = new Set(planned.retyped.map(({ column }) => column));
  const parked = await readParked(client, topicId);
  const fold = await FieldFold.create(client, narrow);
  const ofMessages = positions.reduce((sum, { end }) => sum + end, 0);
  let [messages, rows, unfitCount] = [0, 0, 0];
  const columns: Record<string, number> = {};
  let found: ChangedRow[] = [];
  let unfit: UnfitContent[] = [];
  await readLog(kafka, topic, positions, {
    onMessages: async (partition, batch) => {
      const skipped = parked.get(partition);
      await fold.take(skipped === undefined ? batch : batch.filter(({ offset }) => !skipped.has(offset)));
      messages += batch.length;
      onProgress?.({ messages, ofMessages });
    },
    onPartitionEnd: async (partition) => {
      const wrong = await fold.end(partition);
      const changes = await countChanges(client, narrow, partition, fieldRows(fold, narrow, planned.existing, retyped), atMost);
      rows += changes.rows;
      for (const [column, count] of Object.entries(changes.columns)) columns[column] = (columns[column] ?? 0) + count;
      found = firstById([...found, ...changes.found], atMost);
      unfitCount += wrong.length + changes.unfit.length;
      unfit = firstById([...unfit, ...wrong, ...changes.unfit], atMost);
      await fold.begin();
    },
  });
  return { rows, columns, found, unfitCount, unfit };
}

const firstById = <T extends { readonly id: string }>(of: readonly T[], atMost: number): T[] => of.toSorted((a, b) => a.id.length - b.id.length || (a.id < b.id ? -1 : 1)).slice(0, atMost);

type PlannedRows = Pick<MappingPlan, 'added' | 'removed' | 'marked' | 'others'>;

const noRows: PlannedRows = { added: 0, removed: 0, marked: 0, others: [] };
/** How many differences of a kind are read at least, to tell those of the mapping from others. */
const READ_AT_LEAST = 10_000;

/** Rows as a whole are compared where the treatment of deleted records changes, or nothing is known of what stands. */
async function planRows(client: PoolClient, deps: VerifyDeps, projection: ModuleProjection, change: MappingChange, planned: PlannedTable, options: PlanOptions): Promise<PlannedRows> {
  if ((change.isKnown && change.onDelete === null) || planned.table === null || planned.faults.length > 0) return noRows;
  const { module, epsilonMs } = projection;
  if ([module.keyColumn, module.modifiedTimeColumn, ...(module.onDelete.action === 'mark' ? [module.onDelete.deletedColumn] : [])].some((column) => !planned.existing.has(column))) return noRows;
  const asItIs = new ModuleProjection({ ...module, fields: module.fields.filter(({ column }) => planned.existing.has(column)) }, epsilonMs);
  const { verification: { counts, found } } = await inSnapshot(client, deps, asItIs, { ...options, atMost: Math.max(options.atMost ?? 0, READ_AT_LEAST), isOtherMapping: true });
  const mark = module.onDelete.action === 'mark' ? module.onDelete.deletedColumn : null;
  const others = found.filter((one) => one.kind === 'row missing' || (one.kind === 'row too many' && !one.isUnknown) || (one.kind === 'row differs' && one.values.some(({ column }) => column === mark)));
  const unknown = found.filter((one) => one.kind === 'row too many' && one.isUnknown).length;
  return { added: counts['row missing'] ?? 0, removed: (counts['row too many'] ?? 0) - unknown, marked: others.filter(({ kind }) => kind === 'row differs').length, others: others.slice(0, options.atMost) };
}
