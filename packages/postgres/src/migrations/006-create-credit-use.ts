import { Migration } from '@mikro-orm/migrations';

/** What the day's API credits were spent on, by the hour. */
export class CreateCreditUse extends Migration {
  override up(): void {
    this.addSql(`
      create table lockstep.credit_use (
        hour timestamptz primary key,
        look integer not null,
        catch_up integer not null,
        bulk_read integer not null,
        other integer not null,
        remaining integer
      )`);
    this.addSql(`comment on table lockstep.credit_use is
      'API credits that this installation spent, by its own count; "remaining" is what the CRM said last is left of the organisation''s day, null while it does not say.'`);
    this.addSql(`comment on column lockstep.access_token.refreshed_at is 'When tokens were asked for lately, the latest first, whatever came of it.'`);
  }
}
