import { Migration } from '@mikro-orm/migrations';

import { freshnessView } from '../freshness-view.ts';

/** When the CRM last listed a record as deleted: it ends the doubt about a deletion close to a look. */
export class AddListedTime extends Migration {
  override up(): void {
    this.addSql('alter table lockstep.record_version add column listed_ms bigint');
    this.addSql(`comment on column lockstep.record_version.listed_ms is
      'A time not later than the beginning of the latest call in which the CRM listed the record as deleted; null where that is not known.'`);
    this.addSql(freshnessView);
  }
}
