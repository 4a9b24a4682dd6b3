import { Migration } from '@mikro-orm/migrations';

/** What the projector knows of its partitions, for those who report it; and by which mapping and table a parked message did not fit. */
export class CreatePartitionState extends Migration {
  override up(): void {
    this.addSql(`
      create table lockstep.partition_state (
        topic text not null,
        partition integer not null,
        module text not null,
        halted_since timestamptz,
        cause text,
        oldest_unapplied_at timestamptz,
        noted_at timestamptz not null default now(),
        primary key (topic, partition)
      )`);
    this.addSql(`comment on table lockstep.partition_state is 'One row for each partition that a projector has in hand; a row that is not noted for long belongs to none that runs.'`);
    this.addSql(`comment on column lockstep.partition_state.oldest_unapplied_at is 'When the broker stored the oldest message that was fetched and is not applied; null where there is none.'`);
    this.addSql('alter table lockstep.parked add column judged_by text');
    this.addSql(`comment on column lockstep.parked.judged_by is 'Names the mapping and the table that refused the message last; under others it is tried again.'`);
  }
}
