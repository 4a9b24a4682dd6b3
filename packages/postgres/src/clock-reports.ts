import type { Database } from './database.ts';
import { ms } from './epoch.ts';

/** What one process says of the clocks. */
export type ClockNote = {
  /** Which source contradicts the others; null while none does. */
  readonly differs: 'date' | 'wall' | 'monotonic' | null;
  /** How far the CRM's latest `Date` is ahead of the time that the process believes, milliseconds; null while there was none. */
  readonly dateAheadMs: number | null;
  readonly wallAheadMs: number;
  /** Replies whose `Date` was refused since the process started. */
  readonly refused: number;
  /** CRM time as the process believes it. */
  readonly now: Date;
};

export type ClockReportRow = Omit<ClockNote, 'now'> & {
  readonly role: string;
  /** How far the database's clock was ahead when it was noted. */
  readonly databaseAheadMs: number;
  /** How long ago that was. */
  readonly agoMs: number;
};

/** What the processes that call the CRM say of the clocks, in `lockstep.clock`: one row for each role. The leader makes incidents of it. */
export type ClockReports = {
  note(role: string, note: ClockNote): Promise<void>;
  all(): Promise<ClockReportRow[]>;
};

type Row = { role: string; differs: ClockNote['differs']; date_ahead_ms: number | null; wall_ahead_ms: number; database_ahead_ms: number; refused: number; ago_ms: number };

/** Clock reports in `lockstep.clock`. */
export const clockReports = ({ pool }: Pick<Database, 'pool'>): ClockReports => ({
  note: async (role, { differs, dateAheadMs, wallAheadMs, refused, now }) => {
    await pool.query(
      `insert into lockstep.clock (role, differs, date_ahead_ms, wall_ahead_ms, refused, database_ahead_ms, noted_at)
       values ($1, $2, $3, $4, $5, extract(epoch from clock_timestamp() - $6::timestamptz) * 1000, clock_timestamp())
       on conflict (role) do update set differs = excluded.differs, date_ahead_ms = excluded.date_ahead_ms, wall_ahead_ms = excluded.wall_ahead_ms,
         refused = excluded.refused, database_ahead_ms = excluded.database_ahead_ms, noted_at = excluded.noted_at`,
      [role, differs, dateAheadMs, wallAheadMs, refused, now],
    );
  },
  all: async () => {
    const { rows } = await pool.query<Row>(
      `select role, differs, date_ahead_ms::float8, wall_ahead_ms::float8, database_ahead_ms::float8, refused, ${ms('(clock_timestamp() - noted_at)', 'ago_ms')} from lockstep.clock order by role`,
    );
    return rows.map((row) => ({ role: row.role, differs: row.differs, dateAheadMs: row.date_ahead_ms, wallAheadMs: row.wall_ahead_ms, databaseAheadMs: row.database_ahead_ms, refused: row.refused, agoMs: row.ago_ms }));
  },
});
