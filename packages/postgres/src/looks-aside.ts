import type { Database } from './database.ts';

/** A record that is not looked at with the others, and why: a code of the CRM client or the reader, and its cause in words. */
export type LookAside = { readonly id: string; readonly code: string; readonly cause: string };

/** The code of a record that only waits for room: its look has not failed. */
export const HINTS_BACKLOG = 'HINTS_BACKLOG';

/** Records whose hints are answered later: a look at them fails, or too many hints wait. */
export type LooksAside = {
  /**
   * Notes that looks failed. Each further failure doubles the time to the next look, from a minute to six hours.
   * @returns ids of those that were not aside before.
   */
  keep(module: string, looks: readonly LookAside[]): Promise<string[]>;
  /** Notes hints that wait for room, due at once. A record that is aside already is due within a minute: something has changed. */
  wait(module: string, ids: readonly string[]): Promise<void>;
  /** The records that are due, longest first. They are due again in a minute, if they are neither kept nor answered until then. */
  take(module: string, limit: number): Promise<Pick<LookAside, 'id' | 'code'>[]>;
  /** Their looks have succeeded. */
  answered(module: string, ids: readonly string[]): Promise<void>;
};

/** Makes all looks that are put off in a module due at once. @returns how many were not. */
export const looksDueNow = async ({ pool }: Pick<Database, 'pool'>, module: string): Promise<number> =>
  (await pool.query('update lockstep.look_aside set due_at = now() where module = $1 and due_at > now()', [module])).rowCount ?? 0;

/** Looks that are put off, in `lockstep.look_aside`. */
export const looksAside = ({ pool }: Pick<Database, 'pool'>): LooksAside => ({
  keep: async (module, looks) => {
    if (looks.length === 0) return [];
    const { rows } = await pool.query<{ id: string }>(
      `with kept as (
         insert into lockstep.look_aside as a (module, record_id, code, cause, due_at)
         select $1, id, code, cause, now() + interval '1 minute' from unnest($2::bigint[], $3::text[], $4::text[]) as u (id, code, cause)
         on conflict (module, record_id) do update set
           code = excluded.code, cause = excluded.cause, tries = case when a.code = '${HINTS_BACKLOG}' then 1 else a.tries + 1 end,
           due_at = now() + least(interval '1 minute' * 2 ^ (case when a.code = '${HINTS_BACKLOG}' then 0 else least(a.tries, 20) end), interval '6 hours')
         returning record_id, tries)
       select record_id::text as id from kept where tries = 1`,
      [module, looks.map(({ id }) => id), looks.map(({ code }) => code), looks.map(({ cause }) => cause)],
    );
    return rows.map(({ id }) => id);
  },
  wait: async (module, ids) => {
    if (ids.length === 0) return;
    await pool.query(
      `insert into lockstep.look_aside as a (module, record_id, code, cause, due_at)
       select $1, id, '${HINTS_BACKLOG}', 'more hints than are kept in memory', now() from (select distinct unnest($2::bigint[])) as u (id)
       on conflict (module, record_id) do update set due_at = least(a.due_at, now() + interval '1 minute')`,
      [module, ids],
    );
  },
  take: async (module, limit) => {
    const { rows } = await pool.query<Pick<LookAside, 'id' | 'code'>>(
      `update lockstep.look_aside a set due_at = now() + interval '1 minute'
       from (select record_id from lockstep.look_aside where module = $1 and due_at <= now() order by due_at limit $2 for update skip locked) d
       where a.module = $1 and a.record_id = d.record_id returning a.record_id::text as id, a.code`,
      [module, limit],
    );
    return rows;
  },
  answered: async (module, ids) => {
    if (ids.length > 0) await pool.query('delete from lockstep.look_aside where module = $1 and record_id = any($2::bigint[])', [module, ids]);
  },
});
