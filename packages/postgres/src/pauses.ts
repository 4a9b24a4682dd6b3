import type { Database } from './database.ts';
import { ms } from './epoch.ts';

/** A module whose log is not applied for the time being. */
export type Pause = { readonly module: string; readonly since: Date; readonly reason: string };

/** The modules that people have paused: projectors leave them alone until they are resumed, across restarts. */
export type Pauses = {
  all(): Promise<Pause[]>;
  /** @returns false where the module was paused already; then the reason is the new one, if one is given. */
  pause(module: string, reason: string): Promise<boolean>;
  /** @returns false where it was not paused. */
  resume(module: string): Promise<boolean>;
};

/** Pauses in `lockstep.paused`. */
export const pauses = ({ pool }: Pick<Database, 'pool'>): Pauses => ({
  all: async () => {
    const { rows } = await pool.query<Omit<Pause, 'since'> & { since: number }>(`select module, ${ms('since')}, reason from lockstep.paused order by module`);
    return rows.map((row) => ({ ...row, since: new Date(row.since) }));
  },
  pause: async (module, reason) => {
    const { rows } = await pool.query<{ is_new: boolean }>("insert into lockstep.paused (module, reason) values ($1, $2) on conflict (module) do update set reason = coalesce(nullif(excluded.reason, ''), paused.reason) returning xmax = 0 as is_new", [module, reason]);
    return rows[0]?.is_new === true;
  },
  resume: async (module) => (await pool.query('delete from lockstep.paused where module = $1', [module])).rowCount === 1,
});
