import { STALE_AT_MOST_MS } from '@lockstep/completeness';

import { epsilonSetting } from './fold-sql.ts';

/*
 * A later offset is not a newer version: what is parked (`p`) is compared with the register (`r`) by version.
 *
 *   overtaken   The register has this version or a greater one, or this deletion or a later one; or its look began so much later that it
 *               cannot have seen an older state: the record returned to a content that stands. A confirmation is such a look. Where a
 *               newer content of a smaller coverage stands, it counts until newer ones have spoken of its other fields too.
 *   moot        The record is dead after this content, or lives after this deletion. Dead after it is also what the deleted list names
 *               later than any look can lag: the CRM's clock may have been set back between the content and the deletion. It no longer counts as parked. Where its value is
 *               kept it is applied once it fits, so that the row of a deleted record is the fold of the log as well.
 *
 * What has no readable version was observed no later than it was parked. What has no readable id stays until a person resolves it.
 */
const isDeletion = 'p.deleted_ms is not null';
const version = (of: string): string => `(coalesce(${of}.version_ms, ${of}.modified_ms), ${of}.observed_ms, ${of}.content_hash, ${of}.modified_ms)`;
const parkedMs = '(extract(epoch from p.parked_at) * 1000)::bigint';

/**
 * When a content that is parked (`p`) was observed, epoch milliseconds. No content is older than its own Modified_Time, whatever the clock of
 * the look said, unless that time had not come when it was parked.
 */
export const parkedObservedMs = `greatest(coalesce(p.observed_ms, ${parkedMs}), least(p.modified_ms, ${parkedMs}))`;

// Where the register says nothing, neither is so.
const isOvertaken = `coalesce(case when ${isDeletion} then r.deleted_ms >= p.deleted_ms
  when p.fields_left is not null then p.fields_left = '{}'
  else coalesce(${version('r')} >= ${version('p')}, false) or r.observed_ms > ${parkedObservedMs} + ${STALE_AT_MOST_MS} end, false)`;
const isMoot = `coalesce(case when ${isDeletion} then r.observed_ms > p.deleted_ms + e.ms
  else (${parkedObservedMs} <= r.deleted_ms + e.ms or r.listed_ms > ${parkedObservedMs} + e.ms) and (r.observed_ms is null or r.observed_ms <= r.deleted_ms + e.ms) end, false)`;

// Nineteen digits may be more than a bigint holds.
const recordId = `case when length(p.record_id) < 19 or (length(p.record_id) = 19 and p.record_id collate "C" <= '9223372036854775807') then p.record_id::bigint end`;

const resolve = (which: string): string => `
  with judged as (
    select p.id, ${isOvertaken} as is_overtaken, ${isMoot} as is_moot
    from lockstep.parked p
    join lockstep.record_version r on r.module = p.module and r.record_id = ${recordId}
    cross join ${epsilonSetting} e
    where (p.resolved_at is null or p.value is not null) and ${which})
  update lockstep.parked p set resolved_at = coalesce(p.resolved_at, now()), value = case when not j.is_overtaken then p.value end
  from judged j where j.id = p.id and (j.is_overtaken or (j.is_moot and p.resolved_at is null))
  returning p.id, j.is_overtaken as "isOvertaken"`;

/**
 * Whether a removal of the record waits whose entry in the register has this alias, or is not done with yet: its row may have given up a value to another
 * record, so the register's content may not be what stands in the table.
 */
export const removalWaitsSql = (alias: string): string =>
  `exists (select from lockstep.parked d where d.module = ${alias}.module and d.record_id = ${alias}.record_id::text and d.deleted_ms is not null and d.retryable and (d.resolved_at is null or d.value is not null))`;

/** Resolves all that is overtaken, or moot. Repeating it changes nothing. */
export const resolveOvertaken = resolve('true');

/** The same for what is parked of the records whose ids are in the text array `$2`, of the module `$1`. @returns rows of `id` and `isOvertaken`. */
export const resolveOvertakenOf = resolve('p.module = $1 and p.record_id = any($2::text[])');

/**
 * Of the messages whose `id` is in the bigint array `$1`, those that a content which is parked of the same record shows to be outdated: a deletion
 * after which it was seen alive; or a content, where the other one's look began so much later that it cannot have seen an older state. That
 * may bear the greater `Modified_Time`, and would win the fold. The other one counts also where it is parked for good, until it is resolved, and
 * where it is not in the array. @returns rows of `id`.
 */
export const outdatedByParked = `
  select p.id from lockstep.parked p cross join ${epsilonSetting} e
  where p.id = any($1::bigint[]) and exists (
    select from lockstep.parked q
    where q.module = p.module and q.record_id = p.record_id and q.deleted_ms is null and (q.resolved_at is null or (q.value is not null and q.retryable))
      and q.observed_ms > case when ${isDeletion} then p.deleted_ms + e.ms else ${parkedObservedMs} + ${STALE_AT_MOST_MS} end)`;
