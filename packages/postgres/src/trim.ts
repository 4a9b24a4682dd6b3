import type { Database } from './database.ts';

/** How long the history of what was read and reported is kept, and how much of it at least. */
const CATCH_UPS = { days: 30, atLeast: 1_000 };
const RUNS = { days: 90, atLeast: 20 };
const INCIDENTS = { days: 90, atLeast: 1_000 };
const LETTERS = { days: 30 };
/** Rows that one trim removes of a table, at most: it is repeated every hour. */
const AT_ONCE = 20_000;

/**
 * Removes old catch-ups, bulk runs with their pages, closed incidents, and dead letters that are settled. What later decisions rest on stays: what is open, the first load, and the latest of each kind
 * that was complete.
 * @returns how many rows were removed of each table.
 */
export async function trimHistory({ pool }: Pick<Database, 'pool'>): Promise<{ readonly catchUps: number; readonly runs: number; readonly incidents: number; readonly letters: number }> {
  const { rowCount: catchUps } = await pool.query(
    `with kept as (
       select max(id) as id from lockstep.catch_up where state = 'complete' group by module, is_second_pass, is_restore_scan
       union all select max(id) from lockstep.catch_up where is_restore_scan and scanned_from <= scan_from group by module),
     numbered as (
       select id, row_number() over (partition by module order by id desc) as n from lockstep.catch_up)
     delete from lockstep.catch_up where id in (
       select c.id from lockstep.catch_up c join numbered using (id)
       where c.state in ('complete', 'failed') and n > $2 and c.wanted_at < now() - make_interval(days => $1) and c.id not in (select id from kept where id is not null) limit ${AT_ONCE})`,
    [CATCH_UPS.days, CATCH_UPS.atLeast],
  );
  const { rowCount: runs } = await pool.query(
    `with kept as (select max(id) as id from lockstep.bulk_run where state = 'complete' group by module, kind),
     numbered as (select id, row_number() over (partition by module order by id desc) as n from lockstep.bulk_run),
     old as (
       select r.id from lockstep.bulk_run r join numbered using (id)
       where r.state <> 'running' and not (r.kind = 'initial' and r.state = 'complete') and n > $2 and r.finished_at < now() - make_interval(days => $1) and r.id not in (select id from kept) limit ${AT_ONCE}),
     pages as (delete from lockstep.bulk_page where run_id in (select id from old))
     delete from lockstep.bulk_run where id in (select id from old)`,
    [RUNS.days, RUNS.atLeast],
  );
  const { rowCount: incidents } = await pool.query(
    `delete from lockstep.incident where id in (
       select id from (select id, closed_at, row_number() over (order by id desc) as n from lockstep.incident) i
       where closed_at < now() - make_interval(days => $1) and n > $2 limit ${AT_ONCE})`,
    [INCIDENTS.days, INCIDENTS.atLeast],
  );
  const { rowCount: letters } = await pool.query(`delete from lockstep.dead_letter where id in (select id from lockstep.dead_letter where resolved_at < now() - make_interval(days => $1) limit ${AT_ONCE})`, [LETTERS.days]);
  return { catchUps: catchUps ?? 0, runs: runs ?? 0, incidents: incidents ?? 0, letters: letters ?? 0 };
}
