import { Migration } from '@mikro-orm/migrations';

/** Why a person has given a parked message up. */
export class NoteDiscards extends Migration {
  override up(): void {
    this.addSql('alter table lockstep.parked add column discarded_because text');
    this.addSql(`comment on column lockstep.parked.discarded_because is 'Why a person gave the message up, at resolved_at; null where none did.'`);
  }
}
