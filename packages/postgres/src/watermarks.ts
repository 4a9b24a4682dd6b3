import type { Database } from './database.ts';
import { ms } from './epoch.ts';

/** A claim: every change before `at` is in the log, at offsets below these. */
export type Claim = {
  readonly module: string;
  /** `changes`: everything that moved `Modified_Time`. `everything`: a whole module was read again. */
  readonly kind: 'changes' | 'everything';
  /** CRM time. */
  readonly at: Date;
  readonly topicId: string;
  /** The next offset of each partition, in order, read after the last of it was acknowledged. */
  readonly endOffsets: readonly number[];
};

/** What has been claimed, in `lockstep.watermark`; the view `lockstep.freshness` shows how much of it stands in the tables. */
export type Watermarks = {
  /** The greatest claim of its kind; null before the first. */
  current(module: string, kind: Claim['kind']): Promise<Date | null>;
  /** The greatest claim of its kind that the projector has reached, so that what it claims stands in the table. */
  reached(module: string, kind: Claim['kind']): Promise<Date | null>;
  note(claim: Claim): Promise<void>;
  /**
   * Withdraws what cannot be: claims later than now. Where there is one, time has been set back since the last of them was noted, or it
   * was wrong when it was noted: so nothing is believed that lies after the moment at which that one was noted.
   * @param now CRM time, not later than it is.
   * @param toleranceMs how much later than now a claim may lie.
   * @returns what was withdrawn, latest first.
   */
  withdrawFuture(module: string, now: Date, toleranceMs: number): Promise<Pick<Claim, 'kind' | 'at'>[]>;
};

/** How many claims are kept of a kind and module: the projector may be this far behind, in runs, before freshness shows nothing. */
const KEPT = 5_000;

/** A claim is at least this much older than the moment at which it is noted. */
const NOTED_AFTER = '2 minutes';

/** Watermarks in `lockstep.watermark`. */
export const watermarks = ({ pool }: Pick<Database, 'pool'>): Watermarks => ({
  current: async (module, kind) => {
    const { rows } = await pool.query<{ at: number | null }>(`select ${ms('max(at)', 'at')} from lockstep.watermark where module = $1 and kind = $2`, [module, kind]);
    const at = rows[0]?.at ?? null;
    return at === null ? null : new Date(at);
  },
  reached: async (module, kind) => {
    // Only this column of the view is worked out: its counts over the register are not.
    const { rows } = await pool.query<{ at: number | null }>(`select ${ms(kind === 'changes' ? 'seen_up_to' : 'refreshed_at', 'at')} from lockstep.freshness where module = $1`, [module]);
    const at = rows[0]?.at ?? null;
    return at === null ? null : new Date(at);
  },
  note: async ({ module, kind, at, topicId, endOffsets }) => {
    await pool.query(
      `with noted as (
         insert into lockstep.watermark (module, kind, at, topic_id, end_offsets) values ($1, $2, $3, $4, $5) on conflict do nothing)
       delete from lockstep.watermark where module = $1 and kind = $2
         and at < (select at from lockstep.watermark where module = $1 and kind = $2 order by at desc offset ${KEPT} limit 1)`,
      [module, kind, at, topicId, endOffsets],
    );
  },
  withdrawFuture: async (module, now, toleranceMs) => {
    const { rows } = await pool.query<{ kind: Claim['kind']; at: number }>(
      `with future as (
         select max(noted_at) as noted_at from lockstep.watermark where module = $1 and at > $2::timestamptz + make_interval(secs => $3::float8 / 1000) having count(*) > 0)
       delete from lockstep.watermark w using future
       where w.module = $1 and w.at > $2::timestamptz - greatest(now() - future.noted_at, interval '0') - interval '${NOTED_AFTER}'
       returning w.kind, ${ms('w.at', 'at')}`,
      [module, now, toleranceMs],
    );
    return rows.map(({ kind, at }) => ({ kind, at: new Date(at) })).toSorted((a, b) => b.at.getTime() - a.at.getTime());
  },
});
