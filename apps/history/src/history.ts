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
    const ids = new Set<string>();
    // What is forgotten depends on the deletions that came before, and so must not depend on where the log is cut.
    for (const run of runsOf(of)) for (const id of [...(await noteContents(transaction, module, run, epsilonMs)), ...(await noteDeletions(transaction, module, run))]) ids.add(id);
    if (ids.size > 0) await rewriteHistory(transaction, module, [...ids], epsilonMs);
  }
}

/** Cuts observations, in their order, into those of contents and those of deletions. */
function runsOf(observations: readonly Observed[]): Observed[][] {
  const runs: Observed[][] = [];
  for (const one of observations) {
    const last = runs.at(-1);
    if (last !== undefined && isDeletion(last[0]) === isDeletion(one)) last.push(one);
    else runs.push([one]);
  }
  return runs;
}

const isDeletion = (one: Observed | undefined): boolean => one?.observation.type === 'RecordDeleted';

/** @returns the records of which a content is new. */
async function noteContents(transaction: Transaction, module: string, observations: readonly Observed[], epsilonMs: number): Promise<string[]> {
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
  await forgetEarlierConfirmations(transaction, module, stated.filter(({ isConfirmation }) => isConfirmation).map(({ id }) => id), epsilonMs);
  return rows.map(({ record_id }) => record_id);
}

/**
 * Of the looks that have confirmed one content, the last says all, but for the first one after a deletion, with which the record's return begins: else a
 * record that never changes would have one for each week.
 */
async function forgetEarlierConfirmations(transaction: Transaction, module: string, ids: readonly string[], epsilonMs: number): Promise<void> {
  if (ids.length === 0) return;
  const isSameContent = (one: string): string => `${one}.module = s.module and ${one}.record_id = s.record_id and (${one}.version_ms, ${one}.modified_ms, ${one}.hash) = (s.version_ms, s.modified_ms, s.hash)`;
  await transaction.query(
    `delete from ${STATEMENT} s where s.module = $1 and s.record_id = any($2::bigint[]) and s.is_confirmation
       and exists (select from ${STATEMENT} l where ${isSameContent('l')} and l.is_confirmation and l.observed_ms > s.observed_ms)
       and not exists (
         select from ${DELETION} d where d.module = s.module and d.record_id = s.record_id and d.deleted_ms + $3 < s.observed_ms
           and not exists (select from ${STATEMENT} e where ${isSameContent('e')} and e.observed_ms < s.observed_ms and e.observed_ms > d.deleted_ms + $3))`,
    [module, ids, epsilonMs],
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
