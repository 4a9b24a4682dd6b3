import { Migration } from '@mikro-orm/migrations';

/**
 * What records live through: the time a repaired version competes with, the hidden found fast, looks wanted at referrers (a reason is
 * the code's to know), and the value of what waits, so that it can be tried again without asking the CRM.
 */
export class CreateLives extends Migration {
  override up(): void {
    this.addSql('alter table lockstep.record_version add column version_ms bigint');
    this.addSql(`comment on column lockstep.record_version.version_ms is
      'Where the record was repaired: the time its version competes with, greater than the Modified_Time that was read; else null.'`);
    this.addSql('create index record_version_hidden on lockstep.record_version (module) where hidden_since is not null');
    this.addSql('alter table lockstep.look_wanted drop constraint if exists look_wanted_reason_check');
    this.addSql('alter table lockstep.parked add column value bytea');
  }
}
