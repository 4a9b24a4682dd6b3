import { setTimeout as sleep } from 'node:timers/promises';

import { type Database, sqlState } from '@lockstep/postgres';

import { UsageError } from './errors.ts';

/** How a record stands, and, where it is parked for good, why. */
export type Waited = { readonly isThere: boolean; readonly state: 'stands' | 'deleted' | 'not there in time' | 'parked'; readonly cause: string | null };

/** `modifiedMs`: epoch milliseconds. `timeoutSeconds`: 0 asks once. */
export type WaitFor = { readonly module: string; readonly id: string; readonly modifiedMs: number; readonly timeoutSeconds: number };

const [FIRST_PAUSE_MS, MOST_PAUSE_MS] = [10, 250];

/**
 * Waits until a record stands with that modified time or a later one, or is known as deleted since then.
 * @throws {UsageError} for a module that is not projected into this database.
 */
export async function waitFor({ pool }: Pick<Database, 'pool'>, { module, id, modifiedMs, timeoutSeconds }: WaitFor): Promise<Waited> {
  // Its own pauses go by the database's clock, so it is asked without any.
  const ask = async (): Promise<boolean> => {
    const { rows: [row] } = await pool.query<{ is_there: boolean }>(`select lockstep.wait($1, $2::bigint, to_timestamp($3::float8 / 1000), interval '0') as is_there`, [module, id, modifiedMs]);
    return row?.is_there === true;
  };
  try {
    const endsAt = performance.now() + timeoutSeconds * 1_000;
    for (let pauseMs = FIRST_PAUSE_MS; !(await ask()); pauseMs = Math.min(pauseMs * 1.5, MOST_PAUSE_MS)) {
      const leftMs = endsAt - performance.now();
      if (leftMs <= 0) return { isThere: false, state: 'not there in time', cause: null };
      await sleep(Math.min(pauseMs, leftMs));
    }
  } catch (error) {
    if (sqlState(error) === '22023') throw new UsageError(`${(error as Error).message}: start its projector first`);
    if (sqlState(error) !== '55000') throw error;
    return { isThere: false, state: 'parked', cause: (error as Error).message };
  }
  const { rows: [entry] } = await pool.query<{ is_seen: boolean }>('select coalesce(modified_ms >= $3 and (deleted_ms is null or observed_ms > deleted_ms), false) as is_seen from lockstep.record_version where module = $1 and record_id = $2::bigint', [module, id, modifiedMs]);
  return { isThere: true, state: entry?.is_seen === true ? 'stands' : 'deleted', cause: null };
}
