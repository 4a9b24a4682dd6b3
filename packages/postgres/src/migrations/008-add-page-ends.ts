import { Migration } from '@mikro-orm/migrations';

/** Where the rows of a bulk page begin and end, so that what lies between two pages can be read. */
export class AddPageEnds extends Migration {
  override up(): void {
    this.addSql('alter table lockstep.bulk_page add column first_id text, add column last_id text');
    this.addSql(`comment on column lockstep.bulk_page.first_id is 'The least id among the rows published.'`);
    this.addSql(`comment on column lockstep.bulk_page.last_id is 'The greatest id among the rows published.'`);
  }
}
