import { Migration } from '@mikro-orm/migrations';

/** Which alerts of which incidents have left, and when what failed is sent again. */
export class CreateAlerts extends Migration {
  override up(): void {
    this.addSql(`
      create table lockstep.alert (
        incident_id integer not null references lockstep.incident on delete cascade,
        event text not null check (event in ('opened', 'closed')),
        channel text not null,
        tries integer not null default 0,
        next_at timestamptz not null default now(),
        failure text,
        sent_at timestamptz,
        primary key (incident_id, event, channel)
      )`);
    this.addSql('create index alert_due on lockstep.alert (next_at) where sent_at is null');
    this.addSql(`comment on table lockstep.alert is 'Messages about incidents to people, one for each channel (webhook, mail) when an incident opens and one when it closes.'`);
  }
}
