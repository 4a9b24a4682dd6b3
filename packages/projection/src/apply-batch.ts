import { copyInto, sqlState } from '@lockstep/postgres';
import type { PoolClient, QueryResult } from 'pg';

import { timeStepMs } from './column-fit.ts';
import { copyMemory } from './copy-memory.ts';
import { exactTime, recordsAsArrays, recordsAsCopyText, winnersAsArrays, winnersAsCopyText } from './copy-rows.ts';
import { type Decision, decide, deletedTime, type Merged, wonOf } from './decide.ts';
import { fitsNeverIn } from './fault-of-data.ts';
import { type Confirmation, type FoldedBatch, type FoldedRecord, type LogMessage, type Reject } from './fold-batch.ts';
import type { ModuleProjection } from './module-projection.ts';
import { anyParked, holdParked, noteFieldsLeft } from './parked-rest.ts';
import { parkedVersion } from './parked-version.ts';
import { advance, checkAdvanced, type Positions } from './positions.ts';
import { createNarrowStage, type StageMerges } from './register-sql.ts';
import { wantRestOfRestored } from './restored-in-part.ts';
import { sendTogether, type Statement } from './statements.ts';
import { verify } from './verify.ts';
import { columnOf, unnest } from './write-plan.ts';

/** Messages of one topic, and the positions their partitions stand at before and after them. */
export type Batch = { readonly topic: string; readonly topicId: string; readonly messages: readonly LogMessage[]; readonly positions: Positions };

/** What became of a batch: each observation was applied, or refused as outdated or as known already. */
export type Applied = {
  readonly applied: number;
  readonly refused: number;
  /** Those of the refused that came out of a bulk file: outdated CSV rows. */
  readonly refusedBulk: number;
  /** Parked for good: no build will ever be able to apply them, or a person has to act. */
  readonly rejects: number;
  /** Parked until what they conflict with has changed; see `retryParked`. */
  readonly waiting: number;
};

// Below this many records one statement over arrays is faster than a COPY and its round trips.
const COPY_FROM = 50;
// Of a large batch so many records are looked up, to find out whether it is mostly outdated.
const SAMPLE = 16;

/**
 * Applies a batch in one transaction: folds it, merges the fold into the register, writes the winners into the legacy table
 * and moves the positions. Repeating it changes nothing: the positions no longer match, and the register would refuse it. A small
 * batch takes two round trips.
 * @throws {ProjectionError} see its codes; any Postgres error is passed on, and nothing is written.
 */
export const applyBatch = (client: PoolClient, projection: ModuleProjection, batch: Batch, folded: FoldedBatch): Promise<Applied> => inTransaction(client, projection, batch, folded, 'commit');

/** Does what {@link applyBatch} does, and undoes it: to see whether it fits. It need not begin where its partitions stand: name no positions. */
export const tryBatch = (client: PoolClient, projection: ModuleProjection, batch: Batch, folded: FoldedBatch): Promise<Applied> => inTransaction(client, projection, batch, folded, 'rollback');

async function inTransaction(client: PoolClient, projection: ModuleProjection, batch: Batch, folded: FoldedBatch, end: 'commit' | 'rollback'): Promise<Applied> {
  // The positions would move past messages that were not folded.
  if (folded.cutAt !== null && folded.cutAt < batch.messages.length) throw new Error(`the batch has to be cut before message ${folded.cutAt}`);
  try {
    const { merged, hasParked } = await begin(client, projection, batch, folded);
    await projection.declare(client, folded.coverages);
    const decision = decide(merged, projection);
    if (hasParked) {
      const won = wonOf(merged);
      await noteFieldsLeft(client, projection, won);
      await wantRestOfRestored(client, projection, won);
    }
    const [winners, dead] = [await winnerWrites(client, projection, decision), await deadWrites(client, projection, decision.dead)];
    await verify(client, projection.table, [...winners.checks, ...dead.checks]);
    await sendTogether(client, [
      ...winners.left,
      ...dead.left,
      ...confirmWrites(projection, folded.confirmations),
      ...parkWrites(projection, batch, folded.rejects, projection.judgedBy),
      { text: end },
    ]);
    const refused = folded.refused + folded.records.size - merged.length;
    return { applied: merged.length, refused, refusedBulk: folded.refusedBulk + lostFromBulk(folded, merged), rejects: folded.rejects.length, waiting: 0 };
  } catch (error) {
    await client.query('rollback');
    throw error;
  }
}

/**
 * Opens the transaction, moves the positions and merges the fold into the register.
 * @returns the records that changed, and whether anything is parked of the batch's records.
 */
async function begin(client: PoolClient, projection: ModuleProjection, batch: Batch, folded: FoldedBatch): Promise<{ readonly merged: Merged[]; readonly hasParked: boolean }> {
  const isSmall = folded.records.size > 0 && folded.records.size < COPY_FROM;
  const [, moved, shape, parked, ...results] = await sendTogether(client, [
    { text: 'begin' },
    advance(projection, batch),
    projection.shapeStatement,
    ...(isSmall ? [...holdParked(projection, folded), mergeFromArrays(projection, folded)] : [anyParked(projection), countOutdated(projection, folded), { text: createNarrowStage }]),
  ]);
  await checkAdvanced(client, projection, batch, moved);
  projection.checkShape(shape?.rows ?? []);
  let hasParked = (parked?.rowCount ?? 0) > 0;
  if (isSmall) return { merged: mergedOf(results.at(-1) as QueryResult, folded), hasParked };
  // Thousands of ids are sent only where something is parked at all.
  if (hasParked) hasParked = ((await sendTogether(client, holdParked(projection, folded)))[0]?.rowCount ?? 0) > 0;
  const { rows: [{ count } = { count: 0 }] } = results[0] as QueryResult<{ count: number }>;
  return { merged: folded.records.size === 0 ? [] : await mergeByStage(client, projection, folded, count > SAMPLE / 2), hasParked };
}

function countOutdated({ registerSql }: ModuleProjection, { records }: FoldedBatch): Statement {
  const step = Math.max(1, Math.floor(records.size / SAMPLE));
  return { ...registerSql.countOutdated, values: recordsAsArrays([...records.values()].filter((_, i) => i % step === 0).slice(0, SAMPLE)) };
}

/** Rows of bulk files that the register refused. */
function lostFromBulk({ records }: FoldedBatch, merged: readonly Merged[]): number {
  if (records.size === merged.length) return 0;
  let lost = 0;
  for (const { isBulk } of records.values()) if (isBulk) lost += 1;
  for (const { record } of merged) if (record.isBulk) lost -= 1;
  return lost;
}

/** Parks messages in a transaction of their own, moving the positions past them. */
export async function parkBatch(client: PoolClient, projection: ModuleProjection, batch: Batch, rejects: readonly Reject[], judgedBy = projection.judgedBy): Promise<void> {
  try {
    const [, moved] = await sendTogether(client, [{ text: 'begin' }, advance(projection, batch)]);
    await checkAdvanced(client, projection, batch, moved);
    await sendTogether(client, [...parkWrites(projection, batch, rejects, judgedBy), { text: 'commit' }]);
  } catch (error) {
    await client.query('rollback');
    throw error;
  }
}

/** What the register says of a record that changed; only its id where it is new. */
type MergedRow = [recordId: string, observedMs: string | null, deletedMs: string | null, partition: number | null, offset: string | null];
const AS_ARRAYS = { rowMode: 'array' } as const;

const mergeFromArrays = ({ registerSql }: ModuleProjection, { records }: FoldedBatch): Statement => ({ ...registerSql.mergeArrays, ...AS_ARRAYS, values: recordsAsArrays(records.values()) });

/** Merges a fold into the register. @returns the records that changed. */
export async function mergeRegister(client: PoolClient, projection: ModuleProjection, folded: FoldedBatch): Promise<Merged[]> {
  const { records } = folded;
  if (records.size === 0) return [];
  if (records.size < COPY_FROM) return mergedOf(await client.query(mergeFromArrays(projection, folded)), folded);
  await client.query(createNarrowStage);
  return await mergeByStage(client, projection, folded, false);
}

async function mergeByStage(client: PoolClient, { registerSql: { mergeStage, mergeContents } }: ModuleProjection, folded: FoldedBatch, isOutdated: boolean): Promise<Merged[]> {
  await copyInto(client, 'narrow', recordsAsCopyText(folded.records.values()));
  const send = ({ all, few }: StageMerges): Promise<QueryResult> => client.query({ text: isOutdated ? few : all, ...AS_ARRAYS });
  return hasContentsOnly(folded) ? mergedContents(await send(mergeContents), folded) : mergedOf(await send(mergeStage), folded);
}

function hasContentsOnly({ records }: FoldedBatch): boolean {
  for (const { hash, deletedMs } of records.values()) if (hash === '' || deletedMs >= 0) return false;
  return true;
}

const mergedOf = ({ rows }: { readonly rows: unknown[] }, { records }: FoldedBatch): Merged[] =>
  (rows as MergedRow[]).map(([id, observedMs, deletedMs, partition, offset]) => {
    const record = records.get(id) as FoldedRecord;
    const hasContent = record.hash !== '';
    if (partition === null) return { record, contentWon: hasContent, isFresh: true, observedMs: hasContent ? record.observedMs : null, deletedMs: record.deletedMs < 0 ? null : record.deletedMs };
    return {
      record,
      contentWon: hasContent && partition === record.partition && Number(offset) === record.offset,
      isFresh: false,
      observedMs: observedMs === null ? null : Number(observedMs),
      deletedMs: deletedMs === null ? null : Number(deletedMs),
    };
  });

/** The same of contents without a deletion: each that changed has won. */
const mergedContents = ({ rows }: { readonly rows: unknown[] }, { records }: FoldedBatch): Merged[] =>
  (rows as [recordId: string, deletedMs: string | null][]).map(([id, deletedMs]) => {
    const record = records.get(id) as FoldedRecord;
    return { record, contentWon: true, isFresh: deletedMs === null, observedMs: record.observedMs, deletedMs: deletedMs === null || deletedMs === '-1' ? null : Number(deletedMs) };
  });

/** Writes winners into the legacy table. */
export async function writeWinners(client: PoolClient, projection: ModuleProjection, decision: Pick<Decision, 'winners' | 'allFresh'>): Promise<void> {
  projection.checkShape((await client.query(projection.shapeStatement)).rows);
  await finish(client, projection, await winnerWrites(client, projection, decision));
}

/** What is left to do for rows: statements, and, where triggers run, checks that find a row that does not stand as it was sent. */
type Writes = { readonly left: readonly Statement[]; readonly checks: readonly (string | Statement)[] };

async function finish(client: PoolClient, projection: ModuleProjection, { left, checks }: Writes): Promise<void> {
  await verify(client, projection.table, checks);
  for (const statement of left) await client.query(statement);
}

/**
 * Writes large groups of winners, by COPY; small ones as well where a row may not be proposed, for only a stage holds values as the table would. Where
 * triggers run, which may change values, all are staged.
 */
async function winnerWrites(client: PoolClient, projection: ModuleProjection, { winners, allFresh }: Pick<Decision, 'winners' | 'allFresh'>): Promise<Writes> {
  const left: Statement[] = [];
  const checks = new Set<string>();
  const hasTriggers = projection.table.triggers.length > 0;
  const emptied = new Set<string>();
  for (const [coverage, group] of Map.groupBy(winners, ({ record }) => record.coverage)) {
    const plan = await projection.planFor(client, coverage);
    if (group.length < COPY_FROM && plan.mergeArrays !== null) {
      left.push({ ...plan.mergeArrays, values: winnersAsArrays(group, plan) });
      continue;
    }
    const columns = plan.columns.map((column) => `"${column}"`).join(', ');
    const text = winnersAsCopyText(group, plan, { allocate: (bytes) => copyMemory(client, bytes) });
    if (allFresh && !hasTriggers && (await copiedStraight(client, `${plan.table} (${columns})`, text))) continue;
    await client.query(plan.createStage);
    // It is emptied at the end of a transaction only, and a unit that waits has its own rows; two coverages may share one.
    if (plan.mergeArrays === null && !emptied.has(plan.stage)) await client.query(`delete from ${plan.stage}`);
    emptied.add(plan.stage);
    await copyInto(client, `${plan.stage} (${columns})`, text);
    await client.query(plan.mergeStage);
    if (hasTriggers) checks.add(plan.verifyStage);
  }
  return { left, checks: [...checks] };
}

/** New rows need no merge. Where a row stands already that the register does not know, the stage decides. */
async function copiedStraight(client: PoolClient, target: string, text: Buffer): Promise<boolean> {
  await client.query('savepoint straight');
  try {
    await copyInto(client, target, text);
    return true;
  } catch (error) {
    if (sqlState(error) !== '23505') throw error;
    await client.query('rollback to savepoint straight');
    return false;
  }
}

/** Marks or removes the rows of the dead. */
export async function writeDead(client: PoolClient, projection: ModuleProjection, dead: Decision['dead']): Promise<void> {
  await finish(client, projection, await deadWrites(client, projection, dead));
}

/** By the table's own types, like every statement on it; the key may be a text. Where triggers run, it is written here and now. */
async function deadWrites(client: PoolClient, { module: { table, keyColumn, onDelete }, table: described }: ModuleProjection, dead: Decision['dead']): Promise<Writes> {
  if (dead.length === 0) return { left: [], checks: [] };
  const name = `"${table.schema}"."${table.name}"`;
  const ids = dead.map(({ id }) => id);
  const key = columnOf(described, keyColumn);
  const written = async (write: Statement, check: Statement): Promise<Writes> => {
    if (described.triggers.length === 0) return { left: [write], checks: [] };
    await client.query(write);
    return { left: [], checks: [check] };
  };
  if (onDelete.action === 'remove') {
    const which = `from ${name} where "${keyColumn}" operator(pg_catalog.=) any($1::${key.type}[])`;
    return await written({ text: `delete ${which}`, values: [ids] }, { text: `select '${keyColumn}' as column ${which} limit 1`, values: [ids] });
  }
  const column = `"${onDelete.deletedColumn}"`;
  const deletedColumn = columnOf(described, onDelete.deletedColumn);
  const from = `${unnest([key, deletedColumn])} as d (id, at)`;
  const where = `t."${keyColumn}" operator(pg_catalog.=) d.id and (t.${column} is null or t.${column} operator(pg_catalog.<>) d.at)`;
  const step = timeStepMs(deletedColumn);
  const values = [ids, dead.map(({ deletedMs }) => exactTime(deletedColumn.name, deletedTime(deletedMs), step))];
  return await written({ text: `update ${name} t set ${column} = d.at from ${from} where ${where}`, values }, { text: `select '${onDelete.deletedColumn}' as column from ${name} t, ${from} where ${where} limit 1`, values });
}

function confirmWrites({ registerSql }: ModuleProjection, confirmations: readonly Confirmation[]): Statement[] {
  if (confirmations.length === 0) return [];
  const column = <K extends keyof Confirmation>(key: K): Confirmation[K][] => confirmations.map((confirmation) => confirmation[key]);
  return [{ ...registerSql.confirm, values: [column('id'), column('modifiedMs'), column('versionMs'), column('observedMs'), column('hash')] }];
}

// A position is parked a second time only when the log is read again from before it: then it counts and is tried again.
const parkSql = `
  insert into lockstep.parked (module, topic_id, topic, partition, log_offset, code, cause, retryable, value, record_id, modified_ms, version_ms, observed_ms, content_hash, deleted_ms, coverage, judged_by)
  values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
  on conflict (topic_id, partition, log_offset) do update set
    resolved_at = null, parked_at = now(), tried_at = now(), tries = 0, code = excluded.code, cause = excluded.cause, retryable = excluded.retryable, value = excluded.value, record_id = excluded.record_id,
    modified_ms = excluded.modified_ms, version_ms = excluded.version_ms, observed_ms = excluded.observed_ms, content_hash = excluded.content_hash, deleted_ms = excluded.deleted_ms,
    coverage = excluded.coverage, judged_by = excluded.judged_by, fields_left = null`;

function parkWrites({ module: { apiName }, table }: ModuleProjection, { topic, topicId }: Batch, rejects: readonly Reject[], judgedBy: string): Statement[] {
  return rejects.map(({ message: { partition, offset, value }, ...fault }) => {
    const { code, cause } = fault;
    const { recordId, modifiedMs, versionMs, observedMs, hash, deletedMs, coverage } = parkedVersion(value);
    // Kept until it is applied or overtaken. What names no record, or is no event, is not tried again: the log has it.
    const kept = recordId === null || code.startsWith('EVENT_') ? null : value;
    return { text: parkSql, values: [apiName, topicId, topic, partition, offset, code, cause, !fitsNeverIn(table, fault), kept, recordId, modifiedMs, versionMs, observedMs, hash, deletedMs, coverage, judgedBy] };
  });
}
