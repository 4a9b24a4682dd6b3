import { Migration } from '@mikro-orm/migrations';

import { leftOutFreshnessView } from '../left-out-freshness-view.ts';

/** What could not be read of the CRM, as rows, so that it counts and can be settled; the topic of dead letters says the same for 90 days. */
export class CreateDeadLetters extends Migration {
  override up(): void {
    this.addSql(`
      create table lockstep.dead_letter (
        id bigint generated always as identity primary key,
        module text,
        record_id bigint,
        source text not null,
        position jsonb not null,
        code text not null,
        cause text not null,
        at timestamptz not null default now(),
        resolved_at timestamptz,
        discarded_because text,
        unique (source, position)
      )`);
    this.addSql(`comment on table lockstep.dead_letter is
      'What could not be read: a row of a bulk file, a record in the reply to a look, an entry of the deleted list, a notification. No copy of it. module is null for what belongs to none.'`);
    this.addSql('create index dead_letter_open on lockstep.dead_letter (module) where resolved_at is null');
    this.addSql(leftOutFreshnessView);
  }
}
