import { Migration } from '@mikro-orm/migrations';

/** What a person wants of a halted partition. */
export class AddTryWanted extends Migration {
  override up(): void {
    this.addSql('alter table lockstep.partition_state add column try_wanted_at timestamptz');
    this.addSql(`comment on column lockstep.partition_state.try_wanted_at is 'When a person wanted the halted partition to go on; null once its projector has tried.'`);
  }
}
