import { Migration } from '@mikro-orm/migrations';

/** Fields whose text queries were seen to cut, so that a restart does not have to see it again. */
export class CreateTextCut extends Migration {
  override up(): void {
    this.addSql('create table lockstep.text_cut (module text not null, field text not null, characters integer not null, primary key (module, field))');
    this.addSql(`comment on table lockstep.text_cut is 'Fields of which a query showed fewer characters than a bulk read of the same version: how many.'`);
  }
}
