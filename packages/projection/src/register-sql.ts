import type { ModuleDefinition } from '@lockstep/modules';

import { prepared, type Prepared } from './statements.ts';

/** Where a batch's folded records are staged, for every module: a temporary table of the connection. */
export const createNarrowStage = `
  create temp table if not exists narrow (
    record_id bigint not null, modified_ms bigint, version_ms bigint, observed_ms bigint, content_hash uuid, deleted_ms bigint,
    log_partition integer not null, log_offset bigint not null
  ) on commit delete rows`;

export const NARROW_COLUMNS = 'record_id, modified_ms, version_ms, observed_ms, content_hash, deleted_ms, log_partition, log_offset';

const fromArrays = `unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::uuid[], $6::bigint[], $7::integer[], $8::bigint[]) as narrow (${NARROW_COLUMNS})`;

/** The statements on a module's part of the register. */
export type RegisterSql = { readonly mergeStage: string; readonly mergeArrays: Prepared; readonly confirm: Prepared };

/**
 * The fold in SQL: a component-wise maximum of what stands and what comes. It returns only records that changed: their
 * deletion, their look, and the position of the winner, by which the caller knows whether its own content won; of a record that is new
 * to the register nothing more than that, for it is as it was given. Whatever changes is
 * hidden no more: it was seen, or is known to be deleted.
 */
export function registerSql({ apiName, slug }: ModuleDefinition): RegisterSql {
  const table = `lockstep.record_version_${slug}`;
  // A repair competes with another time than its own.
  const version = (of: string): string => `(coalesce(${of}.version_ms, ${of}.modified_ms), ${of}.observed_ms, ${of}.content_hash, ${of}.modified_ms)`;
  // Where nothing was seen yet, modified_ms is null and anything seen wins; where nothing is seen now, it cannot win.
  const wins = `(excluded.modified_ms is not null and (r.modified_ms is null or ${version('excluded')} > ${version('r')}))`;
  const taken = ['modified_ms', 'version_ms', 'observed_ms', 'content_hash', 'log_partition', 'log_offset'];
  const merge = (source: string): string => `
    insert into ${table} as r (module, ${NARROW_COLUMNS})
    select '${apiName}', ${NARROW_COLUMNS} from ${source} order by record_id
    on conflict (record_id) do update set
      ${taken.map((column) => `${column} = case when ${wins} then excluded.${column} else r.${column} end`).join(',\n      ')},
      deleted_ms = greatest(r.deleted_ms, excluded.deleted_ms),
      hidden_since = null
    where ${wins} or excluded.deleted_ms > coalesce(r.deleted_ms, -1)
    returning record_id, ${['observed_ms', 'deleted_ms', 'log_partition', 'log_offset'].map((column) => `case when xmax <> 0 then ${column} end`).join(', ')}`;
  return {
    mergeStage: merge('narrow'),
    mergeArrays: prepared(merge(fromArrays)),
    // A confirmation has no content to write, so it may not change whether the record is alive. One that says something newer than
    // the register, but does not fit it, makes a look wanted: the register had moved on when it was written.
    confirm: prepared(`
      with c as (
        select distinct on (record_id) * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::uuid[]) as u (record_id, modified_ms, version_ms, observed_ms, content_hash)
        order by record_id, version_ms desc, observed_ms desc),
      confirmed as (
        update ${table} r set observed_ms = c.observed_ms, hidden_since = null from c
        where r.record_id = c.record_id and r.modified_ms = c.modified_ms and coalesce(r.version_ms, r.modified_ms) = c.version_ms and r.content_hash = c.content_hash and r.observed_ms < c.observed_ms
          and (r.deleted_ms is null or (r.observed_ms > r.deleted_ms + $6) = (c.observed_ms > r.deleted_ms + $6))
        returning r.record_id)
      insert into lockstep.look_wanted (module, record_id, reason)
      select '${apiName}', c.record_id, 'unconfirmed' from c left join ${table} r on r.record_id = c.record_id
      where (r.modified_ms is null or (c.version_ms, c.observed_ms) > (coalesce(r.version_ms, r.modified_ms), r.observed_ms)) and c.record_id not in (select record_id from confirmed)
      on conflict (module, record_id) do nothing`),
  };
}
