import type { Database } from './database.ts';
import { ms } from './epoch.ts';
import { DatabaseError } from './errors.ts';
import { epsilonSetting, isAliveSql, timesOf } from './fold-sql.ts';
import { isReplaying } from './standing-claims.ts';

/**
 * Holds deletions that are too many to be believed: a lost permission or a wrong filter must not empty a table. More than 100
 * or one in a hundred of a module's records within an hour wait until a person says go.
 */
export type DeletionBreaker = {
  /**
   * Whether so many further deletions may be published now. If not, that is noted, and they are asked about again later.
   * @param fresh deletions, of records that stand in the table, that are not in the log yet. Those that are count by themselves, applied or parked.
   * @throws {DatabaseError} `REPLAY_UNDER_WAY` while the register does not know which records stand in the table.
   */
  admits(module: string, fresh: number): Promise<boolean>;
  /** Notes that a whole list of deletions was let through: nothing of the module is held any more. */
  passed(module: string): Promise<void>;
  /** Lets everything pass for an hour. @returns false when nothing was held. */
  release(module: string): Promise<boolean>;
  /** What is held now. */
  held(): Promise<{ readonly module: string; readonly heldAt: Date; readonly deletions: number; readonly allowed: number }[]>;
};

const ALWAYS_ALLOWED = 100;
const ALLOWED_SHARE = 0.01;

const countAlive = `select count(*)::int as live from lockstep.record_version r, ${epsilonSetting} e where r.module = $1 and ${isAliveSql(timesOf('r'), 'e.ms')}`;

/** The breaker, in `lockstep.held_deletions`. */
export const deletionBreaker = ({ pool }: Pick<Database, 'pool'>): DeletionBreaker => ({
  admits: async (module, fresh) => {
    if (await isReplaying({ pool }, module)) throw new DatabaseError(`the register of ${module} is being filled from the log, and deletions are judged by it`, 'REPLAY_UNDER_WAY');
    if (fresh === 0) return true;
    const { rows } = await pool.query<{ recent: number; is_released: boolean }>(
      `with hour as (select extract(epoch from now() - interval '1 hour') * 1000 as ago)
       select (select count(*)::int from (
           select record_id from lockstep.record_version, hour where module = $1 and deleted_ms > ago
           union select record_id::bigint from lockstep.parked, hour where module = $1 and deleted_ms > ago and resolved_at is null) as deleted) as recent,
        exists (select from lockstep.held_deletions where module = $1 and released_until > now()) as is_released`,
      [module],
    );
    const deletions = (rows[0]?.recent ?? 0) + fresh;
    if (rows[0]?.is_released === true || deletions <= ALWAYS_ALLOWED) return true;
    const { rows: counted } = await pool.query<{ live: number }>(countAlive, [module]);
    const allowed = Math.max(ALWAYS_ALLOWED, Math.floor((counted[0]?.live ?? 0) * ALLOWED_SHARE));
    if (deletions <= allowed) {
      await pool.query('delete from lockstep.held_deletions where module = $1', [module]);
      return true;
    }
    await pool.query(
      `insert into lockstep.held_deletions (module, deletions, allowed) values ($1, $2, $3)
       on conflict (module) do update set deletions = excluded.deletions, allowed = excluded.allowed, released_until = null,
         held_at = case when held_deletions.released_until is null then held_deletions.held_at else now() end`,
      [module, deletions, allowed],
    );
    return false;
  },
  // A release stays for its hour: more may come.
  passed: async (module) => void (await pool.query('delete from lockstep.held_deletions where module = $1 and (released_until is null or released_until < now())', [module])),
  release: async (module) => {
    const { rowCount } = await pool.query(`update lockstep.held_deletions set released_until = now() + interval '1 hour' where module = $1`, [module]);
    return rowCount === 1;
  },
  held: async () => {
    const { rows } = await pool.query<{ module: string; heldAt: number; deletions: number; allowed: number }>(
      `select module, ${ms('held_at', 'heldAt')}, deletions, allowed from lockstep.held_deletions where released_until is null`,
    );
    return rows.map((row) => ({ ...row, heldAt: new Date(row.heldAt) }));
  },
});
