import type { ConsumedBatch, ConsumerOptions, Observed, Transaction } from '@lockstep/consumer';
import { versionTime } from '@lockstep/record-log';

import type { Config } from './config.ts';
import { rewriteHistory } from './rewrite.ts';
import { createTables, DELETION, NAME, STATEMENT } from './tables.ts';

/** The whole consumer, as its process runs it. */
export const history = ({ consumer, modules }: Config): ConsumerOptions => ({
  config: consumer,
  definition: {
    name: NAME,
    modules,
    prepare: (transaction) => createTables(transaction, modules),
    apply: ({ observations }, transaction) => keepStated(transaction, observations, consumer.epsilonMs),
  },
});

/** Notes what a batch states, whether it won or was outdated, and writes the history of each record that something new was stated of. */
async function keepStated(transaction: Transaction, observations: ConsumedBatch['observations'], epsilonMs: number): Promise<void> {
  for (const [module, of] of Map.groupBy(observations, (one) => one.module)) {
    const ids = new Set([...(await noteContents(transaction, module, of)), ...(await noteDeletions(transaction, module, of))]);
    if (ids.size > 0) await rewriteHistory(transaction, module, [...ids], epsilonMs);
  }
}

/** @returns the records of which a content is new. */
async function noteContents(transaction: Transaction, module: string, observations: readonly Observed[]): Promise<string[]> {
  const stated = observations.flatMap(({ id, outcome, stated: one }) => (one === null ? [] : [{ ...one, id, isConfirmation: outcome === 'confirmed' }]));
  if (stated.length === 0) return [];
  const versions = stated.map(({ version }) => version);
  const { rows } = await transaction.query<{ record_id: string }>(
    `insert into ${STATEMENT} (module, record_id, version_ms, modified_ms, observed_ms, hash, coverage, is_confirmation, fields)
     select $1, id, version_ms, modified_ms, observed_ms, hash, coverage, is_confirmation, fields::json
     from unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::boolean[], $9::text[]) u (id, version_ms, modified_ms, observed_ms, hash, coverage, is_confirmation, fields)
     on conflict do nothing returning record_id`,
    [module, stated.map(({ id }) => id), versions.map(versionTime), versions.map(({ modifiedMs }) => modifiedMs), versions.map(({ observedMs }) => observedMs), versions.map(({ hash }) => hash), stated.map(({ coverage }) => coverage), stated.map(({ isConfirmation }) => isConfirmation), stated.map(({ fields }) => JSON.stringify(fields))],
  );
  await forgetEarlierConfirmations(transaction, module, stated.filter(({ isConfirmation }) => isConfirmation).map(({ id }) => id));
  return rows.map(({ record_id }) => record_id);
}

/** Of the looks that have confirmed one content the last says all: else a record that never changes would have one for each week. */
async function forgetEarlierConfirmations(transaction: Transaction, module: string, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return;
  await transaction.query(
    `delete from ${STATEMENT} s where s.module = $1 and s.record_id = any($2::bigint[]) and s.is_confirmation and exists (
       select from ${STATEMENT} l where l.module = s.module and l.record_id = s.record_id and l.is_confirmation
         and (l.version_ms, l.modified_ms, l.hash) = (s.version_ms, s.modified_ms, s.hash) and l.observed_ms > s.observed_ms)`,
    [module, ids],
  );
}

/** @returns the records of which a deletion is new. */
async function noteDeletions(transaction: Transaction, module: string, observations: readonly Observed[]): Promise<string[]> {
  const deletions = observations.flatMap(({ id, observation }) => (observation.type === 'RecordDeleted' ? [{ id, deletedMs: observation.deletedMs + END_OF_SECOND_MS }] : []));
  if (deletions.length === 0) return [];
  const { rows } = await transaction.query<{ record_id: string }>(
    `insert into ${DELETION} (module, record_id, deleted_ms) select $1, id, deleted_ms from unnest($2::bigint[], $3::bigint[]) u (id, deleted_ms) on conflict do nothing returning record_id`,
    [module, deletions.map(({ id }) => id), deletions.map(({ deletedMs }) => deletedMs)],
  );
  return rows.map(({ record_id }) => record_id);
}

// The CRM's `deleted_time` has whole seconds: as record-log has it, a deletion counts up to its last millisecond.
const END_OF_SECOND_MS = 999;
