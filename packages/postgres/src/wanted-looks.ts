import type { Database } from './database.ts';
import { resolveOvertaken } from './overtaken.ts';

/**
 * Why a record is to be looked at again without a notification: `unconfirmed` (a confirmation did not fit the register),
 * `doubtful` (its deletion and its latest look are too close to tell apart), `unlisted` (the CRM lists it as deleted no more: it
 * was restored), `restored` (by a content that does not speak of all fields, and its row had given up a value), `referrer` (a record that it
 * points to was deleted: a merge gives it another one to point to), `unexplained` (a bulk result's multi-select cell holds what the picklist
 * does not explain), `asked` (a person asked for it).
 */
export type LookReason = 'unconfirmed' | 'doubtful' | 'unlisted' | 'restored' | 'referrer' | 'unexplained' | 'asked';
export type WantedLook = { readonly module: string; readonly id: string; readonly reason: LookReason };

/** Looks that are wanted by the projector, which never calls the CRM, and by the catch-up. The scheduler makes hints of them. */
export type WantedLooks = {
  want(module: string, ids: readonly string[], reason: LookReason): Promise<void>;
  /** Notes parked messages as resolved that the register has overtaken; see `resolveOvertaken`. */
  resolveOvertaken(): Promise<void>;
  due(limit: number): Promise<WantedLook[]>;
  done(looks: readonly WantedLook[]): Promise<void>;
};

/** Wanted looks in `lockstep.look_wanted`. */
export const wantedLooks = ({ pool }: Pick<Database, 'pool'>): WantedLooks => ({
  want: async (module, ids, reason) => {
    if (ids.length === 0) return;
    await pool.query(
      `insert into lockstep.look_wanted (module, record_id, reason) select $1, id, $3 from unnest($2::bigint[]) as u (id) on conflict (module, record_id) ${reason === 'asked' ? 'do update set due_at = least(look_wanted.due_at, now())' : 'do nothing'}`,
      [module, ids, reason],
    );
  },
  resolveOvertaken: async () => void (await pool.query(resolveOvertaken)),
  due: async (limit) => {
    const { rows } = await pool.query<WantedLook>('select module, record_id as id, reason from lockstep.look_wanted where due_at <= now() order by due_at limit $1', [limit]);
    return rows;
  },
  done: async (looks) => {
    if (looks.length === 0) return;
    await pool.query('delete from lockstep.look_wanted l using unnest($1::text[], $2::bigint[]) as d (module, id) where l.module = d.module and l.record_id = d.id', [
      looks.map(({ module }) => module),
      looks.map(({ id }) => id),
    ]);
  },
});
