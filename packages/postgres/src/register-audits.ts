import type { Database } from './database.ts';
import { epsilonSetting, isAliveSql, timesOf } from './fold-sql.ts';

/** What the register holds of a module, counted in one pass over it. */
export type RegisterCounts = {
  /** Records that are alive and not hidden. */
  readonly visible: number;
  /** Records that changed or were deleted since a time. */
  readonly changedSince: number;
  /** Live records that bear a modified time which is yet to come. */
  readonly inFuture: number;
};

/** Audits of the register: what no single look can show. */
export type RegisterAudits = {
  /** @param times CRM times: since when changes are counted, and what is later than which counts as yet to come (by more than ε). */
  count(module: string, times: { readonly changedSince: Date; readonly now: Date }): Promise<RegisterCounts>;
  /**
   * Notes as hidden every live record that no look has seen since a time (less ε): a reading of the whole module began then and has not
   * met it. What is parked was met. Nothing is removed; the next look that sees the record clears the note.
   * @returns how many are newly noted.
   */
  hideUnseen(module: string, since: Date): Promise<number>;
  /**
   * Cuts what lies after a time that has certainly not come: looks and deletions of records that were written down while a clock was
   * wrong, in the register and of what is parked. They count as made at that time, and each record of the register is looked at again
   * once ε has passed. Repeating it changes nothing.
   * @param latest CRM time: the latest that it can be.
   * @param toleranceMs how much later than that an entry may lie.
   * @returns how many entries were cut.
   */
  cutFuture(module: string, latest: Date, toleranceMs: number): Promise<number>;
  /** Records that are noted as hidden. */
  hidden(module: string): Promise<number>;
};

const isAlive = isAliveSql(timesOf('r'), 'e.ms');

/** Audits of `lockstep.record_version`. */
export const registerAudits = ({ pool }: Pick<Database, 'pool'>): RegisterAudits => ({
  count: async (module, { changedSince, now }) => {
    const { rows } = await pool.query<RegisterCounts>(
      `select count(*) filter (where ${isAlive} and r.hidden_since is null)::int as visible,
         count(*) filter (where r.modified_ms >= $2 or r.deleted_ms >= $2)::int as "changedSince",
         count(*) filter (where ${isAlive} and r.modified_ms > $3 + e.ms)::int as "inFuture"
       from lockstep.record_version r, ${epsilonSetting} e where r.module = $1`,
      [module, changedSince.getTime(), now.getTime()],
    );
    return rows[0] ?? { visible: 0, changedSince: 0, inFuture: 0 };
  },
  hideUnseen: async (module, since) => {
    const { rowCount } = await pool.query(
      `update lockstep.record_version r set hidden_since = now() from ${epsilonSetting} e
       where r.module = $1 and r.hidden_since is null and r.observed_ms < $2 - e.ms and ${isAlive}
         and not exists (select from lockstep.parked p where p.module = $1 and p.resolved_at is null and p.record_id = r.record_id::text)`,
      [module, since.getTime()],
    );
    return rowCount ?? 0;
  },
  cutFuture: async (module, latest, toleranceMs) => {
    const { rows } = await pool.query<{ cut: number }>(
      `with cut as (
         update lockstep.record_version r set
           observed_ms = case when r.observed_ms > $2::bigint + $3::bigint then $2::bigint else r.observed_ms end,
           deleted_ms = case when r.deleted_ms > $2::bigint + $3::bigint then $2::bigint else r.deleted_ms end,
           listed_ms = case when r.listed_ms > $2::bigint + $3::bigint then null else r.listed_ms end
         where r.module = $1 and (r.observed_ms > $2::bigint + $3::bigint or r.deleted_ms > $2::bigint + $3::bigint or r.listed_ms > $2::bigint + $3::bigint) returning r.record_id),
       parked as (
         update lockstep.parked p set
           observed_ms = case when p.observed_ms > $2::bigint + $3::bigint then $2::bigint else p.observed_ms end,
           deleted_ms = case when p.deleted_ms > $2::bigint + $3::bigint then $2::bigint else p.deleted_ms end
         where p.module = $1 and (p.observed_ms > $2::bigint + $3::bigint or p.deleted_ms > $2::bigint + $3::bigint) returning p.id),
       wanted as (
         insert into lockstep.look_wanted (module, record_id, reason, due_at)
         select $1, cut.record_id, 'doubtful', now() + make_interval(secs => e.ms / 1000.0 + 10) from cut, ${epsilonSetting} e
         on conflict (module, record_id) do nothing)
       select (select count(*) from cut)::int + (select count(*) from parked)::int as cut`,
      [module, latest.getTime(), toleranceMs],
    );
    return rows[0]?.cut ?? 0;
  },
  hidden: async (module) => {
    const { rows } = await pool.query<{ hidden: number }>('select count(*)::int as hidden from lockstep.record_version where module = $1 and hidden_since is not null', [module]);
    return rows[0]?.hidden ?? 0;
  },
});
