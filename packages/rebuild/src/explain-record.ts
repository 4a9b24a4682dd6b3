import { topicOf } from '@lockstep/modules';
import type { ModuleProjection } from '@lockstep/projection';
import { isSettled } from '@lockstep/record-log';

import { quote } from './quote.ts';
import { type HistoryEntry, historyOf, readRecord } from './record-history.ts';
import { columnsWritten } from './shadow.ts';
import { standsNowhere, type VerifyDeps } from './verify-module.ts';

/** A column of a record's row, and the message its value came from. Values are texts; null is NULL. */
export type ExplainedColumn = {
  readonly column: string;
  readonly inTable: string | null;
  /** The field, and the newest content that speaks of it; null where none does, and for columns that are not a field's. */
  readonly from: { readonly field: string; readonly partition: number; readonly offset: number; readonly origin: string; readonly value: string | boolean | null } | null;
};

/** A message about the record that is kept aside, and why. */
export type ParkedMessage = { readonly partition: number; readonly offset: number; readonly code: string; readonly cause: string; readonly isWaiting: boolean; readonly parkedAt: string; /** False where it was resolved without having been applied. */ readonly isOpen: boolean };

/** Why a record's row is as it is. Times are ISO 8601. */
export type Explanation = {
  readonly module: string;
  readonly id: string;
  readonly history: readonly HistoryEntry[];
  /** Messages that the projector has not come to yet. */
  readonly notYetApplied: number;
  readonly row: readonly ExplainedColumn[] | null;
  readonly isAlive: boolean;
  /** Whether no doubt is left: no newer content of the same second, and none about a deletion. */
  readonly isSettled: boolean;
  /** Since when looks have not found it, although it was not listed as deleted. */
  readonly hiddenSince: string | null;
  /** Why it is to be looked at again. */
  readonly lookWanted: string | null;
  readonly parked: readonly ParkedMessage[];
};

/**
 * Explains a record's row: what the log holds of it, what the fold made of each message, and which of them each value came from.
 * @throws {KafkaError} when the log cannot be read.
 */
export async function explainRecord({ pool, kafka, admin }: VerifyDeps, projection: ModuleProjection, id: string, topic: string = topicOf(projection.module)): Promise<Explanation> {
  const { module, epsilonMs } = projection;
  const parked = await readParkedOf({ pool }, module.apiName, id);
  const events = await readRecord({ pool, kafka, admin }, topic, id, await admin.topicOffsets(topic));
  const isParked = new Set(parked.map(({ offset }) => offset));
  const { rows: positions } = await pool.query<{ partition: number; next: string }>('select partition, next_offset as next from lockstep.projection_offset where topic = $1', [topic]);
  const next = new Map(positions.map((row) => [row.partition, Number(row.next)]));
  const applied = events.filter(({ partition, offset }) => offset < (next.get(partition) ?? 0));
  const history = historyOf(applied, { epsilonMs, parked: isParked });
  const register = history.at(-1)?.register ?? {};
  const { rows: [entry] } = await pool.query<{ hidden_since: string | null }>(`select ${iso('hidden_since')} as hidden_since from lockstep.record_version where module = $1 and record_id = $2`, [module.apiName, id]);
  const { rows: [wanted] } = await pool.query<{ reason: string }>('select reason from lockstep.look_wanted where module = $1 and record_id = $2', [module.apiName, id]);
  return {
    module: module.apiName,
    id,
    history,
    notYetApplied: events.length - applied.length,
    row: await rowOf({ pool }, projection, id, history),
    isAlive: history.at(-1)?.isAlive ?? false,
    isSettled: isSettled(register, epsilonMs),
    hiddenSince: entry?.hidden_since ?? null,
    lookWanted: wanted?.reason ?? null,
    parked,
  };
}

const iso = (column: string): string => `to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;

async function readParkedOf({ pool }: Pick<VerifyDeps, 'pool'>, module: string, id: string): Promise<ParkedMessage[]> {
  const { rows } = await pool.query<{ partition: number; log_offset: string; code: string; cause: string; retryable: boolean; parked_at: string; is_open: boolean }>(
    `select partition, log_offset, code, cause, retryable, ${iso('parked_at')} as parked_at, resolved_at is null as is_open from lockstep.parked where module = $1 and record_id = $2 and ${standsNowhere} order by log_offset`,
    [module, id],
  );
  return rows.map((row) => ({ partition: row.partition, offset: Number(row.log_offset), code: row.code, cause: row.cause, isWaiting: row.retryable, parkedAt: row.parked_at, isOpen: row.is_open }));
}

async function rowOf({ pool }: Pick<VerifyDeps, 'pool'>, projection: ModuleProjection, id: string, history: readonly HistoryEntry[]): Promise<ExplainedColumn[] | null> {
  const { module: { table, keyColumn, fields } } = projection;
  const columns = columnsWritten(projection);
  const { rows: [row] } = await pool.query<Record<string, string | null>>(
    `select ${columns.map((column) => `t.${quote(column)}::text as ${quote(column)}`).join(', ')} from ${quote(table.schema)}.${quote(table.name)} t where t.${quote(keyColumn)}::text = $1`,
    [id],
  );
  if (row === undefined) return null;
  const client = await pool.connect();
  try {
    const spoken: { readonly entry: HistoryEntry; readonly names: readonly string[] }[] = [];
    for (const entry of history.toReversed()) {
      if (entry.outcome !== 'won' || entry.event === null || !('coverage' in entry.event)) continue;
      spoken.push({ entry, names: await projection.fieldsOf(client, entry.event.coverage) });
    }
    const fieldOf = new Map(fields.map(({ field, column }) => [column, field]));
    return columns.map((column) => ({ column, inTable: row[column] ?? null, from: sourceOf(fieldOf.get(column), spoken) }));
  } finally {
    client.release();
  }
}

function sourceOf(field: string | undefined, spoken: readonly { readonly entry: HistoryEntry; readonly names: readonly string[] }[]): ExplainedColumn['from'] {
  if (field === undefined) return null;
  for (const { entry: { partition, offset, origin, event }, names } of spoken) {
    const at = names.indexOf(field);
    if (at >= 0 && event !== null && 'fields' in event) return { field, partition, offset, origin, value: event.fields[at] ?? null };
  }
  return null;
}
