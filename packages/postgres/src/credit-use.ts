import type { Database } from './database.ts';

/** What credits are spent on: looks at records, catch-ups (windows and deleted lists), bulk reads, repetitions of failed calls, and all else. */
export type CreditPurpose = 'look' | 'catch-up' | 'bulk-read' | 'retry' | 'other';

/** What was spent, and what the CRM said last is left of the organisation's day; null while it does not say. */
export type CreditsOfDay = { readonly credits: Readonly<Record<CreditPurpose, number>>; readonly remaining: number | null };

/** The use of the CRM's credits by this installation, shared by its processes. Hours are those of the database's clock. */
export type CreditUse = {
  /** Adds what was spent just now. */
  add(spent: CreditsOfDay): Promise<void>;
  /** The hours that reach into the last 24. */
  ofDay(): Promise<CreditsOfDay>;
};

const KEPT = '8 days';

type Row = { look: number; catch_up: number; bulk_read: number; retry: number; other: number; remaining: number | null };

/** Credits in `lockstep.credit_use`, a row an hour. */
export const creditUse = ({ pool }: Pick<Database, 'pool'>): CreditUse => ({
  add: async ({ credits, remaining }) => {
    await pool.query(
      `with added as (
         insert into lockstep.credit_use as u (hour, look, catch_up, bulk_read, other, remaining, retry) values (date_trunc('hour', now()), $1, $2, $3, $4, $5, $6)
         on conflict (hour) do update set look = u.look + excluded.look, catch_up = u.catch_up + excluded.catch_up,
           bulk_read = u.bulk_read + excluded.bulk_read, other = u.other + excluded.other, retry = u.retry + excluded.retry, remaining = excluded.remaining)
       delete from lockstep.credit_use where hour < now() - interval '${KEPT}'`,
      [credits.look, credits['catch-up'], credits['bulk-read'], credits.other, remaining, credits.retry],
    );
  },
  ofDay: async () => {
    const { rows } = await pool.query<Row>(
      `select coalesce(sum(look), 0)::int as look, coalesce(sum(catch_up), 0)::int as catch_up, coalesce(sum(bulk_read), 0)::int as bulk_read,
         coalesce(sum(other), 0)::int as other, coalesce(sum(retry), 0)::int as retry, (array_agg(remaining order by hour desc))[1] as remaining
       from lockstep.credit_use where hour > now() - interval '25 hours'`,
    );
    const { look, catch_up, bulk_read, retry, other, remaining } = rows[0] as Row;
    return { credits: { look, 'catch-up': catch_up, 'bulk-read': bulk_read, retry, other }, remaining };
  },
});
