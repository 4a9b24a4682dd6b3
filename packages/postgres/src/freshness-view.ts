import { doubtSinceSql, epsilonSetting, isSettledSql, timesOf } from './fold-sql.ts';

const isUnsettled = `not ${isSettledSql(timesOf('r'), 'e.ms')}`;

/*
 * A claim counts once every partition's position has reached the offset it names. "Unsettled" is the fold's own predicate: a
 * newer content of the same second may exist, or a deletion and a look are too close to tell which came first.
 * Migration 010 creates it. It is published: another text goes to another file, with a migration of its own.
 */
export const freshnessSelect = `
  with epsilon as ${epsilonSetting},
  modules as (select module from lockstep.mapping)
  select m.module,
    changes.at as seen_up_to,
    case when changes.at is not null then least(changes.at, (select to_timestamp(min(${doubtSinceSql(timesOf('r'), 'e.ms')}) / 1000.0) from lockstep.record_version r, epsilon e
      where r.module = m.module and ${isUnsettled})) end as settled_up_to,
    everything.at as refreshed_at,
    (select count(*) from lockstep.parked p where p.module = m.module and p.resolved_at is null) as parked,
    (select count(*) from lockstep.record_version r where r.module = m.module and r.hidden_since is not null) as hidden,
    (select count(*) from lockstep.record_version r, epsilon e where r.module = m.module and ${isUnsettled}) as unsettled
  from modules m
  left join lateral (${reached('changes')}) changes on true
  left join lateral (${reached('everything')}) everything on true`;

export const freshnessView = `
  create or replace view lockstep.freshness as${freshnessSelect}`;

/** The same, and since when a module is paused: then nothing of it is applied. Migration 016 creates it, and is published as well. */
export const freshnessAndPauses = `
  create or replace view lockstep.freshness as
  select f.*, p.since as paused_since from (${freshnessSelect}) f left join lockstep.paused p on p.module = f.module`;

/** The greatest claim of a kind whose offsets the projector has passed. */
function reached(kind: 'changes' | 'everything'): string {
  return `
    select w.at from lockstep.watermark w
    where w.module = m.module and w.kind = '${kind}' and not exists (
      select from unnest(w.end_offsets) with ordinality as e (next_offset, n)
      left join lockstep.projection_offset o on o.topic_id = w.topic_id and o.partition = e.n - 1
      where coalesce(o.next_offset, 0) < e.next_offset)
    order by w.at desc limit 1`;
}
