import { Migration } from '@mikro-orm/migrations';

/** The buckets out of which all processes pay their calls, and what the day's credits were found to be. */
export class CreateCreditBucket extends Migration {
  override up(): void {
    this.addSql('create table lockstep.credit_bucket (name text primary key, level double precision not null, refilled_at timestamptz not null)');
    // Full, whatever its capacity will be.
    this.addSql(`insert into lockstep.credit_bucket values ('day', 'infinity', now()), ('retry', 'infinity', now())`);
    this.addSql(`comment on table lockstep.credit_bucket is 'API credits that may be spent at once: "day" by every call before it is sent, "retry" by those that repeat a failed one besides. They fill up with time.'`);
    this.addSql('create table lockstep.credit_limit (source text primary key, per_day integer not null, noted_at timestamptz not null)');
    this.addSql(`comment on table lockstep.credit_limit is 'API credits of the organisation in 24 hours, where they are not configured: as its edition grants them, or as the CRM''s header shows them.'`);
    this.addSql('alter table lockstep.credit_use add column retry integer not null default 0');
  }
}
