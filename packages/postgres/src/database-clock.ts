import { realTime, type Time } from '@lockstep/telemetry';

import type { Database } from './database.ts';
import { ms } from './epoch.ts';

/** The database's time: all times of ours that are kept are taken from it and compared with it, whichever host asks. */
export type DatabaseClock = {
  /** The time as it was read last, and what has passed since. */
  now(): Date;
  /** Reads it again. */
  read(): Promise<void>;
};

/** What time it is for the database. */
export async function databaseNow({ pool }: Pick<Database, 'pool'>): Promise<Date> {
  const { rows } = await pool.query<{ now: number }>(`select ${ms('clock_timestamp()', 'now')}`);
  return new Date(Math.floor(rows[0]?.now ?? Number.NaN));
}

/** Between which bounds the database's clock is ahead of our monotonic one, milliseconds. */
export async function databaseOffset(db: Pick<Database, 'pool'>, time: Pick<Time, 'elapsed'> = realTime): Promise<{ readonly low: number; readonly high: number }> {
  const sentMs = time.elapsed();
  const nowMs = (await databaseNow(db)).getTime();
  return { low: nowMs - time.elapsed(), high: nowMs + 1 - sentMs };
}

/** A clock that follows the database's; it is read once before it is returned. */
export async function databaseClock(db: Pick<Database, 'pool'>, time: Pick<Time, 'elapsed'> = realTime): Promise<DatabaseClock> {
  let offsetMs = 0;
  const read = async (): Promise<void> => {
    const now = await databaseNow(db);
    offsetMs = now.getTime() - time.elapsed();
  };
  await read();
  return { now: () => new Date(Math.floor(time.elapsed() + offsetMs)), read };
}
