import type { Database } from './database.ts';

/** The bucket of all calls, and the one that retries are paid out of besides. */
export type CreditBucketName = 'day' | 'retry';

/** What is to be taken out of a bucket. */
export type CreditDraw = {
  /** The most that the bucket holds, and what flows in within 24 hours. */
  readonly capacity: number;
  readonly perDay: number;
  /** Below zero gives back; 0 takes nothing, and shows the level. */
  readonly credits: number;
  /** What has to be left afterwards. */
  readonly keep: number;
  /** What the bucket holds at most now, where the CRM says that less is left; null for no such word. */
  readonly ceiling: number | null;
};

/** Where the day's credits are known from. */
export type CreditLimitSource = 'edition' | 'header';
export type CreditLimit = { readonly source: CreditLimitSource; readonly perDay: number; /** By the database's clock. */ readonly ageMs: number };

/** The buckets of an installation's API credits, shared by all its processes; they fill by the database's clock. */
export type CreditBuckets = {
  /** Takes credits out, all of them or none. @returns the level afterwards. */
  draw(bucket: CreditBucketName, draw: CreditDraw): Promise<{ readonly isDrawn: boolean; readonly level: number }>;
  limits(): Promise<CreditLimit[]>;
  noteLimit(source: CreditLimitSource, perDay: number): Promise<void>;
};

/** Buckets in `lockstep.credit_bucket`, limits in `lockstep.credit_limit`. */
export const creditBuckets = ({ pool }: Pick<Database, 'pool'>): CreditBuckets => ({
  draw: async (bucket, { capacity, perDay, credits, keep, ceiling }) => {
    // The row's lock puts the draws of all processes in an order. A clock that was set back fills nothing.
    const { rows: [row] } = await pool.query<{ is_drawn: boolean; level: number }>(
      `with filled as (
         select name, least(level + greatest(0, extract(epoch from clock_timestamp() - refilled_at)) * $3::float8 / 86400, $2::float8, coalesce($6::float8, 'infinity')) as level
         from lockstep.credit_bucket where name = $1 for update
       )
       update lockstep.credit_bucket b set refilled_at = clock_timestamp(), level = least($2::float8, filled.level - case when $4::float8 <= 0 or filled.level - $4 >= $5::float8 then $4 else 0 end)
       from filled where b.name = filled.name returning $4::float8 <= 0 or filled.level - $4 >= $5::float8 as is_drawn, b.level`,
      [bucket, capacity, perDay, credits, keep, ceiling],
    );
    return { isDrawn: row?.is_drawn === true, level: row?.level ?? 0 };
  },
  limits: async () => {
    const { rows } = await pool.query<{ source: CreditLimitSource; per_day: number; age_ms: number }>(
      'select source, per_day, extract(epoch from clock_timestamp() - noted_at)::float8 * 1000 as age_ms from lockstep.credit_limit',
    );
    return rows.map(({ source, per_day: perDay, age_ms: ageMs }) => ({ source, perDay, ageMs }));
  },
  noteLimit: async (source, perDay) => {
    await pool.query('insert into lockstep.credit_limit values ($1, $2, clock_timestamp()) on conflict (source) do update set per_day = excluded.per_day, noted_at = excluded.noted_at', [source, perDay]);
  },
});
