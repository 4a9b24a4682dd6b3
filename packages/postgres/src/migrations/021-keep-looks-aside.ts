import { Migration } from '@mikro-orm/migrations';

/** Records whose look fails, and fields that the CRM refuses, so that a restart remembers them. */
export class KeepLooksAside extends Migration {
  override up(): void {
    this.addSql(`
      create table lockstep.look_aside (
        module text not null,
        record_id bigint not null,
        code text not null,
        cause text not null,
        tries integer not null default 1,
        since timestamptz not null default now(),
        due_at timestamptz not null,
        primary key (module, record_id)
      )`);
    this.addSql('create index look_aside_due on lockstep.look_aside (module, due_at)');
    this.addSql(`comment on table lockstep.look_aside is 'Records that are looked at by themselves, less and less often, as their looks fail; or that wait for room (HINTS_BACKLOG).'`);
    this.addSql(`
      create table lockstep.field_missing (
        module text not null,
        field text not null,
        cause text not null,
        since timestamptz not null,
        is_back boolean not null default false,
        primary key (module, field)
      )`);
    this.addSql(`comment on table lockstep.field_missing is 'Mapped fields that the CRM refuses to read, since when (CRM time); is_back: it is read again, and a catch-up from then on is to be requested.'`);
  }
}
