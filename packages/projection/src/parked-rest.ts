import { copyInto, resolveOvertakenOf } from '@lockstep/postgres';
import { compareVersions } from '@lockstep/record-log';
import type { PoolClient } from 'pg';

import { winnersAsCopyText } from './copy-rows.ts';
import { ProjectionError } from './errors.ts';
import type { Fault } from './fault-of-data.ts';
import { faultOfTry } from './held-up.ts';
import { type FoldedBatch, type FoldedRecord, foldBatch, type LogMessage } from './fold-batch.ts';
import type { ModuleProjection } from './module-projection.ts';
import type { Statement } from './statements.ts';
import { verify } from './verify.ts';
import { restPlan } from './write-plan.ts';

/*
 * A newer content of a smaller coverage says nothing of the other fields. An older one that is parked counts on for those: `fields_left` says
 * which. Where it waits they are written once they fit; its version is no longer compared with the register's.
 */

const isOpen = '(p.resolved_at is null or p.value is not null)';

/** Finds a row where anything of the module is parked. */
export const anyParked = ({ module: { apiName } }: Pick<ModuleProjection, 'module'>): Statement => ({
  text: `select from lockstep.parked p where p.module = $1 and ${isOpen} limit 1`,
  values: [apiName],
});

/**
 * Statements for what is parked of the records of a batch, before they are merged. The first locks it, and finds rows where there is any: a retry that
 * has it in hand ends before the batch is judged, and none begins. The second resolves what is overtaken of records that a smaller
 * coverage is about to speak of: afterwards the register no longer says so.
 */
export function holdParked({ module: { apiName }, own }: ModuleProjection, { records }: FoldedBatch): Statement[] {
  const passing = [...records.values()].filter(({ hash, coverage: covered }) => hash !== '' && covered !== own.id).map(({ id }) => id);
  return [
    { text: `select from lockstep.parked p where p.module = $1 and p.record_id = any($2::text[]) and ${isOpen} order by p.id for update`, values: [apiName, [...records.keys()]] },
    ...(passing.length === 0 ? [] : [{ text: resolveOvertakenOf, values: [apiName, passing] }]),
  ];
}

type ParkedRow = { id: string; recordId: string; modifiedMs: string; versionMs: string | null; observedMs: string; hash: string; coverage: string | null; fieldsLeft: string[] | null };

/** Notes of what is parked of these records, and is no newer, which fields these contents leave to it; they have won the register. */
export async function noteFieldsLeft(client: PoolClient, projection: ModuleProjection, passing: readonly FoldedRecord[]): Promise<void> {
  if (passing.length === 0) return;
  const byId = new Map(passing.map((record) => [record.id, record]));
  const { rows } = await client.query<ParkedRow>(
    `select id, record_id as "recordId", modified_ms as "modifiedMs", version_ms as "versionMs", observed_ms as "observedMs",
       replace(content_hash::text, '-', '') as hash, coverage, fields_left as "fieldsLeft"
     from lockstep.parked p where module = $1 and record_id = any($2::text[]) and modified_ms is not null and ${isOpen} order by id for update`,
    [projection.module.apiName, [...byId.keys()]],
  );
  const noted: { readonly id: string; readonly left: readonly string[] }[] = [];
  for (const row of rows) {
    const left = await fieldsLeft(client, projection, row, byId.get(row.recordId) as FoldedRecord);
    if (left !== null) noted.push({ id: row.id, left });
  }
  if (noted.length === 0) return;
  await client.query('update lockstep.parked p set fields_left = array(select jsonb_array_elements_text(n.fields)) from unnest($1::bigint[], $2::jsonb[]) as n (id, fields) where p.id = n.id', [
    noted.map(({ id }) => id),
    noted.map(({ left }) => JSON.stringify(left)),
  ]);
}

/** @returns the fields that a parked content still counts for; null where that stays as it was. */
async function fieldsLeft(client: PoolClient, projection: ModuleProjection, parked: ParkedRow, record: FoldedRecord): Promise<string[] | null> {
  const version = { modifiedMs: Number(parked.modifiedMs), versionMs: Number(parked.versionMs ?? parked.modifiedMs), observedMs: Number(parked.observedMs), hash: parked.hash };
  if (compareVersions(version, record) > 0) return null;
  const spoken = new Set(await projection.fieldsOf(client, record.coverage));
  const mapped = new Set(mappedFields(projection));
  const before = parked.fieldsLeft ?? (await fieldsOf(client, projection, parked.coverage));
  const left = before.filter((field) => mapped.has(field) && !spoken.has(field));
  return parked.fieldsLeft === null || left.length < before.length ? left : null;
}

const mappedFields = ({ module }: ModuleProjection): readonly string[] => module.fields.map(({ field }) => field);

async function fieldsOf(client: PoolClient, projection: ModuleProjection, covered: string | null): Promise<readonly string[]> {
  const fields = mappedFields(projection);
  if (covered === null) return fields;
  try {
    return await projection.fieldsOf(client, covered);
  } catch (error) {
    // What names an unknown coverage is parked for that reason.
    if (error instanceof ProjectionError && error.code === 'COVERAGE_UNKNOWN') return fields;
    throw error;
  }
}

/** A message that waits, by its id in `lockstep.parked`. */
type Message = { readonly id: string; readonly message: LogMessage };

/** Of messages that wait, the fields that are left to each that was passed by a content of a smaller coverage, by id. */
export async function passedAmong(client: PoolClient, waiting: readonly Message[]): Promise<Map<string, readonly string[]>> {
  if (waiting.length === 0) return new Map();
  const { rows } = await client.query<{ id: string; fields: string[] }>('select id, fields_left as fields from lockstep.parked where id = any($1::bigint[]) and fields_left is not null', [waiting.map(({ id }) => id)]);
  return new Map(rows.map(({ id, fields }) => [id, fields]));
}

/**
 * Writes what is left of contents that were passed, the oldest version first, into rows that stand: times and deletion are the newer one's.
 * @returns what does not fit, by the id of the message.
 * @throws what is not the row's fault.
 */
export async function applyRests(client: PoolClient, projection: ModuleProjection, waiting: readonly Message[]): Promise<Map<string, Fault>> {
  const faults = new Map<string, Fault>();
  const contents = waiting.flatMap(({ id, message }) => [...foldBatch([message]).records.values()].map((record) => ({ id, message, record })));
  for (const { id, message, record } of contents.toSorted((a, b) => compareVersions(a.record, b.record))) {
    await client.query('savepoint rest');
    try {
      // A newer one may have been written just now, and speak of all of it.
      const left = (await passedAmong(client, [{ id, message }])).get(id) ?? [];
      await applyRest(client, projection, record, left);
      await client.query('set constraints all immediate; set constraints all deferred; release savepoint rest');
    } catch (error) {
      faults.set(id, faultOfTry(error));
      await client.query('rollback to savepoint rest; release savepoint rest');
    }
  }
  return faults;
}

async function applyRest(client: PoolClient, projection: ModuleProjection, record: FoldedRecord, left: readonly string[]): Promise<void> {
  const { module, table } = projection;
  const { coverage: id } = record;
  const fields = module.fields.filter(({ field }) => left.includes(field));
  if (fields.length > 0) {
    const plan = restPlan({ ...module, fields }, table, { id, fields: await projection.fieldsOf(client, id) });
    await client.query(`${plan.createStage}; delete from ${plan.stage}`);
    await copyInto(client, `${plan.stage} (${plan.columns.map((column) => `"${column}"`).join(', ')})`, winnersAsCopyText([{ record, deletedMs: null }], plan));
    await client.query(plan.mergeStage);
    await verify(client, table, [plan.verifyStage]);
  }
  await noteFieldsLeft(client, projection, [record]);
}
