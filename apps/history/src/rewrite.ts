import type { Fields, Transaction } from '@lockstep/consumer';

import { DELETION, HISTORY, STATEMENT } from './tables.ts';
import { type Statement, timeline, type Valid } from './timeline.ts';

/** One row of the history; times are epoch milliseconds. */
type Row = { readonly id: string; readonly fromMs: string; readonly toMs: string | null; readonly modifiedMs: string; readonly fields: string };

type StatementRow = { record_id: string; version_ms: string; modified_ms: string; observed_ms: string; hash: string; coverage: string; fields: Fields };

/** Brings the history of records to what their statements amount to. Rows that are right already are left as they stand. */
export async function rewriteHistory(transaction: Transaction, module: string, ids: readonly string[], epsilonMs: number): Promise<void> {
  const { rows: stated } = await transaction.query<StatementRow>(`select record_id, version_ms, modified_ms, observed_ms, hash, coverage, fields from ${STATEMENT} where module = $1 and record_id = any($2::bigint[])`, [module, ids]);
  const { rows: deleted } = await transaction.query<{ record_id: string; deleted_ms: string }>(`select record_id, deleted_ms from ${DELETION} where module = $1 and record_id = any($2::bigint[])`, [module, ids]);
  const [statements, deletions] = [Map.groupBy(stated, ({ record_id }) => record_id), Map.groupBy(deleted, ({ record_id }) => record_id)];
  const wanted = ids.flatMap((id) => timeline((statements.get(id) ?? []).map(statementOf), (deletions.get(id) ?? []).map(({ deleted_ms }) => Number(deleted_ms)), epsilonMs).map((valid) => rowOf(id, valid)));
  const { rows: standing } = await transaction.query<Row>(
    `select record_id as id, ${msOf('valid_from')} as "fromMs", ${msOf('valid_to')} as "toMs", ${msOf('modified_at')} as "modifiedMs", fields::text as fields from ${HISTORY} where module = $1 and record_id = any($2::bigint[])`,
    [module, ids],
  );
  await writeDifference(transaction, module, wanted, standing);
}

async function writeDifference(transaction: Transaction, module: string, wanted: readonly Row[], standing: readonly Row[]): Promise<void> {
  const [isWanted, stands] = [new Set(wanted.map(textOf)), new Set(standing.map(textOf))];
  const [wrong, missing] = [standing.filter((row) => !isWanted.has(textOf(row))), wanted.filter((row) => !stands.has(textOf(row)))];
  if (wrong.length > 0) {
    await transaction.query(`delete from ${HISTORY} h using unnest($2::bigint[], $3::bigint[]) u (id, from_ms) where h.module = $1 and h.record_id = u.id and h.valid_from = ${timeOf('u.from_ms')}`, [module, wrong.map(({ id }) => id), wrong.map(({ fromMs }) => fromMs)]);
  }
  if (missing.length > 0) {
    await transaction.query(
      `insert into ${HISTORY} (module, record_id, valid_from, valid_to, modified_at, fields) select $1, id, ${timeOf('from_ms')}, ${timeOf('to_ms')}, ${timeOf('modified_ms')}, fields::json
       from unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[]) u (id, from_ms, to_ms, modified_ms, fields)`,
      [module, missing.map(({ id }) => id), missing.map(({ fromMs }) => fromMs), missing.map(({ toMs }) => toMs), missing.map(({ modifiedMs }) => modifiedMs), missing.map(({ fields }) => fields)],
    );
  }
}

function statementOf({ version_ms, modified_ms, observed_ms, hash, coverage, fields }: StatementRow): Statement {
  const [versionMs, modifiedMs] = [Number(version_ms), Number(modified_ms)];
  return { version: { modifiedMs, observedMs: Number(observed_ms), hash, ...(versionMs === modifiedMs ? {} : { versionMs }) }, coverage, fields };
}

const rowOf = (id: string, { fromMs, toMs, modifiedMs, fields }: Valid): Row => ({ id, fromMs: String(fromMs), toMs: toMs === null ? null : String(toMs), modifiedMs: String(modifiedMs), fields: JSON.stringify(fields) });
const textOf = ({ id, fromMs, toMs, modifiedMs, fields }: Row): string => `${id} ${fromMs} ${toMs} ${modifiedMs} ${fields}`;
const msOf = (column: string): string => `(extract(epoch from ${column}) * 1000)::bigint`;
const timeOf = (ms: string): string => `timestamptz 'epoch' + ${ms} * interval '1 millisecond'`;
