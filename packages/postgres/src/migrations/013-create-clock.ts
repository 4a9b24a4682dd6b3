import { Migration } from '@mikro-orm/migrations';

/** What the processes that call the CRM say of the clocks. */
export class CreateClock extends Migration {
  override up(): void {
    this.addSql(`
      create table lockstep.clock (
        role text primary key,
        differs text check (differs in ('date', 'wall', 'monotonic')),
        date_ahead_ms numeric,
        wall_ahead_ms numeric not null,
        database_ahead_ms numeric not null,
        refused integer not null,
        noted_at timestamptz not null
      )`);
    this.addSql(`comment on table lockstep.clock is
      'How far each source of time is ahead of the time that is believed, by role: the reader, the leader. "differs" names the one that contradicts the others.'`);
  }
}
