import { Migration } from '@mikro-orm/migrations';

/** Where in the log a record's messages may stand, so that its history is read without its whole partition. */
export class CreateLogIndex extends Migration {
  override up(): void {
    this.addSql(`
      create table lockstep.log_index (
        topic_id text not null,
        partition integer not null,
        from_offset bigint not null,
        to_offset bigint not null,
        filter bytea not null,
        primary key (topic_id, partition, from_offset)
      )`);
    this.addSql('alter table lockstep.log_index alter column filter set storage external');
    this.addSql(`comment on table lockstep.log_index is
      'Parts of the log without gaps, and for each a Bloom filter of the keys of its messages. It may be emptied: it is made again.'`);
  }
}
