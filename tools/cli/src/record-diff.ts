import { createCrmClient, createTokenSource, loadCrmConfig, memoryTokenStore } from '@lockstep/crm-client';
import { loggedFields } from '@lockstep/modules';
import { type ModuleProjection } from '@lockstep/projection';
import { type Explanation, explainRecord, type VerifyDeps } from '@lockstep/rebuild';
import { canonicalJson, type FieldValue } from '@lockstep/record-log';

import { waitingText } from './history.ts';
import { table } from './status.ts';

/** One column of a record: what stands, what the log says, and what the CRM says, as the column shows it; null is NULL. */
export type DiffedColumn = {
  readonly column: string;
  readonly field: string | null;
  readonly inTable: string | null;
  /** Null as well where no content speaks of it. */
  readonly byLog: string | null;
  readonly inCrm: string | null;
  readonly differs: readonly ('log' | 'CRM')[];
};

export type RecordDiff = {
  readonly module: string;
  readonly id: string;
  readonly hasRow: boolean;
  readonly isAliveByLog: boolean;
  /** Null where the CRM was not asked. */
  readonly isInCrm: boolean | null;
  /** Messages about it that the projector has not come to. */
  readonly notYetApplied: number;
  readonly columns: readonly DiffedColumn[];
  readonly isDifferent: boolean;
};

/** Compares a record's row with the log and, where the environment names it, the CRM. */
export async function recordDiff(env: NodeJS.ProcessEnv, deps: VerifyDeps, projection: ModuleProjection, id: string): Promise<RecordDiff> {
  const explanation = await explainRecord(deps, projection, id);
  const found = env['CRM_CLIENT_ID'] === undefined ? null : await lookAtRecord(env, projection, id);
  const { module, isAlive, row, notYetApplied } = explanation;
  const columns = row === null ? [] : await comparedColumns(deps, projection, row, found?.values ?? null);
  const isInCrm = found === null ? null : found.values !== null;
  const isMissing = row === null && (isAlive || isInCrm === true);
  return { module, id, hasRow: row !== null, isAliveByLog: isAlive, isInCrm, notYetApplied, columns, isDifferent: isMissing || (isInCrm !== null && isInCrm !== isAlive) || columns.some(({ differs }) => differs.length > 0) };
}

type Values = ReadonlyMap<string, FieldValue>;

async function lookAtRecord(env: NodeJS.ProcessEnv, { module }: ModuleProjection, id: string): Promise<{ readonly values: Values | null }> {
  const config = loadCrmConfig(env);
  const crm = createCrmClient({ config, tokens: createTokenSource({ config, store: memoryTokenStore() }) });
  try {
    const fields = loggedFields(module);
    const { records: [record] } = await crm.lookAt({ module: module.apiName, fields: fields.map(({ field }) => field), ids: [id] });
    return { values: record === undefined ? null : new Map(fields.filter(({ field }) => Object.hasOwn(record.values, field)).map(({ field, kind }) => [field, canonicalJson(kind, record.values[field])])) };
  } finally {
    await crm.close();
  }
}

async function comparedColumns({ pool }: VerifyDeps, projection: ModuleProjection, row: NonNullable<Explanation['row']>, crm: Values | null): Promise<DiffedColumn[]> {
  await projection.readTable(pool);
  const { module: { fields }, table: described } = projection;
  const columns: DiffedColumn[] = [];
  for (const { column, inTable, from } of row) {
    const mapping = fields.find((one) => one.column === column);
    const type = described.columns.get(column)?.shown;
    if (mapping === undefined || type === undefined) continue;
    const shown = async (value: FieldValue | undefined): Promise<string | null> => (value === null || value === undefined ? null : await asColumn({ pool }, String(value), type));
    const [byLog, inCrm] = [from === null ? null : await shown(from.value), crm === null ? null : await shown(crm.get(mapping.field))];
    const differs = [...(from !== null && byLog !== inTable ? (['log'] as const) : []), ...(crm?.has(mapping.field) === true && inCrm !== inTable ? (['CRM'] as const) : [])];
    columns.push({ column, field: mapping.field, inTable, byLog, inCrm, differs });
  }
  return columns;
}

/** A value as its column would show it; as it is where the column cannot hold it. */
async function asColumn({ pool }: Pick<VerifyDeps, 'pool'>, value: string, type: string): Promise<string> {
  const { rows: [row] } = await pool.query<{ shown: string }>(`select ($1::text)::${type}::text as shown`, [value]).catch(() => ({ rows: [{ shown: value }] }));
  return row?.shown ?? value;
}

/** The columns of a record's row that are not what the log says, and how they would show that. */
export async function differingColumns(deps: VerifyDeps, projection: ModuleProjection, { row }: Explanation): Promise<ReadonlyMap<string, string | null>> {
  const columns = row === null ? [] : await comparedColumns(deps, projection, row, null);
  return new Map(columns.filter(({ differs }) => differs.length > 0).map(({ column, byLog }) => [column, byLog]));
}

/** A record's columns for people; those that differ are marked. */
export function diffText({ module, id, hasRow, isAliveByLog, isInCrm, notYetApplied, columns, isDifferent }: RecordDiff): string {
  const crm = isInCrm === null ? 'the CRM was not asked: set CRM_*' : isInCrm ? 'the CRM has it' : 'the CRM does not have it';
  const head = `${module} ${id}: ${hasRow ? 'it has a row' : 'it has no row'}; by the log it ${isAliveByLog ? 'exists' : 'is deleted, or was never seen'}; ${crm}; ${isDifferent ? 'they differ' : 'no difference'}`;
  const rows = columns.map(({ column, inTable, byLog, inCrm, differs }) => [differs.length > 0 ? '≠' : '', column, JSON.stringify(inTable), JSON.stringify(byLog), ...(isInCrm === null ? [] : [JSON.stringify(inCrm)])]);
  return `${[head, ...waitingText(notYetApplied), ...(rows.length === 0 ? [] : table([['', 'column', 'in the table', 'by the log', ...(isInCrm === null ? [] : ['in the CRM'])], ...rows]))].join('\n')}\n`;
}
