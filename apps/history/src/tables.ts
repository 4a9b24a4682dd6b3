import { schemaOf, type Transaction } from '@lockstep/consumer';
import type { ModuleDefinition } from '@lockstep/modules';

/** Names the consumer's schema and group. */
export const NAME = 'history';

/** What has been stated of each record: contents and deletions. The history is made from it. */
export const STATEMENT = `${schemaOf(NAME)}.statement`;
export const DELETION = `${schemaOf(NAME)}.deletion`;
/** The history of every module; each has a partition of its own, e.g. `lockstep_history.leads`. */
export const HISTORY = 'lockstep_history.record';

/** An expression of json as jsonb, which holds no U+0000: an escape of it has an even number of backslashes before its own. */
const withoutNul = (json: string): string => String.raw`regexp_replace(${json}::text, '(?<!\\)((?:\\\\)*)\\u0000', '\1\\ufffd', 'g')::jsonb`;

/** Creates the tables, and the function that reads them. */
export async function createTables(transaction: Transaction, modules: readonly ModuleDefinition[]): Promise<void> {
  await transaction.query(tables);
  // Slug and API name come from checked definitions.
  for (const { slug, apiName } of modules) await transaction.query(`create table if not exists lockstep_history.${slug} partition of ${HISTORY} for values in ('${apiName}')`);
}

const tables = `
  create table if not exists ${STATEMENT} (
    module text not null,
    record_id bigint not null,
    version_ms bigint not null,
    modified_ms bigint not null,
    observed_ms bigint not null,
    hash text not null,
    coverage text not null,
    is_confirmation boolean not null,
    fields json not null,
    primary key (module, record_id, version_ms, modified_ms, observed_ms, hash)
  );
  create table if not exists ${DELETION} (module text not null, record_id bigint not null, deleted_ms bigint not null, primary key (module, record_id, deleted_ms));
  create schema if not exists lockstep_history;
  create table if not exists ${HISTORY} (
    module text not null,
    record_id bigint not null,
    valid_from timestamptz not null,
    valid_to timestamptz,
    modified_at timestamptz not null,
    fields json not null,
    primary key (module, record_id, valid_from)
  ) partition by list (module);
  create schema if not exists lockstep;
  create or replace function lockstep.history(module text, id bigint, as_of timestamptz default now()) returns jsonb
    language sql stable parallel safe
    return (select ${withoutNul('r.fields')} from ${HISTORY} r where r.module = $1 and r.record_id = $2 and r.valid_from <= $3 and (r.valid_to is null or r.valid_to > $3));
  comment on function lockstep.history is 'The fields of a CRM record as they were at a time, by their API names; null where the record did not exist, or nothing is known of it. U+0000, which jsonb cannot hold, is given as U+FFFD.'`;
