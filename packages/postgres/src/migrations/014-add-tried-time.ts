import { Migration } from '@mikro-orm/migrations';

/**
 * When what waits was tried last. `parked_at` was moved by each try, and so was no longer the latest time at which its content can have been
 * observed: a content that bears a time to come seemed to be observed at that time, once it had come.
 */
export class AddTriedTime extends Migration {
  override up(): void {
    this.addSql('alter table lockstep.parked add column tried_at timestamptz not null default now()');
  }
}
