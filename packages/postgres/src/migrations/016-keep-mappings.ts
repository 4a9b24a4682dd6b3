import { Migration } from '@mikro-orm/migrations';

import { freshnessAndPauses } from '../freshness-view.ts';
import { waitFunctions } from '../wait-function.ts';

/**
 * What of a table is filled by its mapping, so that a changed one is filled from the log where it differs, and nothing else is read; modules that
 * are paused; and a function that waits for a record.
 */
export class KeepMappings extends Migration {
  override up(): void {
    this.addSql('alter table lockstep.mapping add column complete jsonb');
    this.addSql(`comment on column lockstep.mapping.complete is
      'What of the mapping stands in the table as far back as the log goes; null where that is not known. "lockstep apply" fills the rest.'`);
    this.addSql(`
      create table lockstep.paused (
        module text primary key,
        since timestamptz not null default now(),
        reason text not null default ''
      )`);
    this.addSql(`comment on table lockstep.paused is 'Modules whose log is not applied for the time being: "lockstep pause" and "lockstep resume". It fills meanwhile.'`);
    this.addSql(freshnessAndPauses);
    for (const create of waitFunctions) this.addSql(create);
  }
}
