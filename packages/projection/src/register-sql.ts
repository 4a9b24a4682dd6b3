import type { ModuleDefinition } from '@lockstep/modules';
import { isAliveSql, removalWaitsSql, timesOf } from '@lockstep/postgres';

import { prepared, type Prepared } from './statements.ts';

/** Where a batch's folded records are staged, for every module: a temporary table of the connection. */
export const createNarrowStage = `
  create temp table if not exists narrow (
    record_id bigint not null, modified_ms bigint, version_ms bigint, observed_ms bigint, content_hash uuid, deleted_ms bigint, listed_ms bigint,
    log_partition integer not null, log_offset bigint not null
  ) on commit delete rows`;

const NARROW_COLUMNS = 'record_id, modified_ms, version_ms, observed_ms, content_hash, deleted_ms, listed_ms, log_partition, log_offset';

const fromArrays = `unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::uuid[], $6::bigint[], $7::bigint[], $8::integer[], $9::bigint[]) as narrow (${NARROW_COLUMNS})`;

/** Merges the stage, where all of it is to be merged, and where little of it is. */
export type StageMerges = {
  readonly all: string;
  /** The same, for a stage that is mostly outdated: such a row is found by reading. In a merge it would be locked, and that is a write. */
  readonly few: string;
};

/** The statements on a module's part of the register. */
export type RegisterSql = {
  readonly mergeStage: StageMerges;
  /**
   * For a stage of contents without a deletion, which is most of them: what wins is compared once a row, and not for each column. What changed has its content
   * from the stage, so only the id and the deletion are returned: null of a record that is new, -1 of one that was never deleted.
   */
  readonly mergeContents: StageMerges;
  readonly mergeArrays: Prepared;
  /** How many of the records in arrays would change nothing, as `count`. */
  readonly countOutdated: Prepared;
  readonly confirm: Prepared;
};

/**
 * The fold in SQL: a component-wise maximum of what stands and what comes. It returns only records that changed: their
 * deletion, their look, and the position of the winner, by which the caller knows whether its own content won; of a record that is new
 * to the register nothing more than that, for it is as it was given. What was seen, or counts as deleted now, is hidden no more.
 */
export function registerSql({ apiName, slug, onDelete }: ModuleDefinition, epsilonMs: number): RegisterSql {
  const table = `lockstep.record_version_${slug}`;
  const epsilon = `${epsilonMs}::bigint`;
  // A repair competes with another time than its own.
  const version = (of: string): string => `(coalesce(${of}.version_ms, ${of}.modified_ms), ${of}.observed_ms, ${of}.content_hash, ${of}.modified_ms)`;
  // Where nothing was seen yet, modified_ms is null and anything seen wins; where nothing is seen now, it cannot win.
  const winsAs = (of: string): string => `(${of}.modified_ms is not null and (r.modified_ms is null or ${version(of)} > ${version('r')}))`;
  const wins = winsAs('excluded');
  const changesAs = (of: string): string => `${winsAs(of)} or ${of}.deleted_ms > coalesce(r.deleted_ms, -1) or ${of}.listed_ms > coalesce(r.listed_ms, -1)`;
  // One look into the index for each record, however large the register: a subquery that stands alone becomes no join. Null where the record is new.
  const found = (condition: string): string => `(select (${condition}) is true from ${table} r where r.record_id = narrow.record_id)`;
  const taken = ['modified_ms', 'version_ms', 'observed_ms', 'content_hash', 'log_partition', 'log_offset'];
  const staysAlive = isAliveSql({ observed: 'r.observed_ms', deleted: 'greatest(r.deleted_ms, excluded.deleted_ms)' }, epsilon);
  const returned = ['record_id', ...['observed_ms', 'deleted_ms', 'log_partition', 'log_offset'].map((column) => `case when xmax <> 0 then ${column} end`)];
  const merge = (source: string, set: readonly string[], where: string, returning: readonly string[] = returned): string => `
    insert into ${table} as r (module, ${NARROW_COLUMNS})
    select '${apiName}', ${NARROW_COLUMNS} from ${source} order by record_id
    on conflict (record_id) do update set
      ${set.join(',\n      ')}
    where ${where}
    returning ${returning.join(', ')}`;
  const setAll = [
    ...taken.map((column) => `${column} = case when ${wins} then excluded.${column} else r.${column} end`),
    'deleted_ms = greatest(r.deleted_ms, excluded.deleted_ms)',
    'listed_ms = greatest(r.listed_ms, excluded.listed_ms)',
    `hidden_since = case when r.hidden_since is not null and not ${wins} and ${staysAlive} then r.hidden_since end`,
  ];
  const setContents = [...taken.map((column) => `${column} = excluded.${column}`), 'hidden_since = null'];
  const mergesOf = (set: readonly string[], changes: (of: string) => string, returning?: readonly string[]): StageMerges => ({
    all: merge('narrow', set, changes('excluded'), returning),
    few: merge(`narrow where coalesce(${found(changes('narrow'))}, true)`, set, changes('excluded'), returning),
  });
  return {
    mergeStage: mergesOf(setAll, changesAs),
    mergeContents: mergesOf(setContents, winsAs, ['record_id', 'case when xmax <> 0 then coalesce(deleted_ms, -1) end']),
    mergeArrays: prepared(merge(fromArrays, setAll, changesAs('excluded'))),
    countOutdated: prepared(`select count(*)::integer as count from ${fromArrays} where not ${found(changesAs('narrow'))}`),
    confirm: prepared(confirm({ apiName, table, epsilon, isRemoved: onDelete.action === 'remove' })),
  };
}

/**
 * A confirmation has no content to write, so it may not revive a record: the row may be gone. One that says something newer than the
 * register, but does not hold for it, makes a look wanted, which sees all of the record. In a batch a record has confirmations of one
 * content only.
 */
function confirm({ apiName, table, epsilon, isRemoved }: { readonly apiName: string; readonly table: string; readonly epsilon: string; readonly isRemoved: boolean }): string {
  // While the removal of a row waits, the row may have given up a unique value: then it is not the content that would be confirmed.
  const stands = isRemoved ? ` and not ${removalWaitsSql('r')}` : '';
  const isSame = (of: string): string => `r.modified_ms = ${of}.modified_ms and coalesce(r.version_ms, r.modified_ms) = ${of}.version_ms and r.content_hash = ${of}.content_hash`;
  const after = { observed: 'c.observed_ms', deleted: 'r.deleted_ms' };
  return `
    with newer as (
      select c.*, coalesce(${isSame('c')}, false) and ${isAliveSql(timesOf('r'), epsilon)} = ${isAliveSql(after, epsilon)}${stands} as holds
      from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::uuid[]) as c (record_id, modified_ms, version_ms, observed_ms, content_hash)
      left join ${table} r on r.record_id = c.record_id
      where r.modified_ms is null or (c.version_ms, c.observed_ms) > (coalesce(r.version_ms, r.modified_ms), r.observed_ms)),
    held as (
      select distinct on (record_id) * from newer where holds order by record_id, observed_ms desc),
    confirmed as (
      update ${table} r set observed_ms = c.observed_ms, hidden_since = null from held c
      where r.record_id = c.record_id and ${isSame('c')} and r.observed_ms < c.observed_ms
        and ${isAliveSql(timesOf('r'), epsilon)} = ${isAliveSql(after, epsilon)})
    insert into lockstep.look_wanted (module, record_id, reason)
    select distinct '${apiName}', record_id, 'unconfirmed' from newer where not holds
    on conflict (module, record_id) do nothing`;
}
