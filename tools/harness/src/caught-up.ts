import pg from 'pg';

import type { Lockstep } from './lockstep.ts';
import { waitUntil } from './wait-until.ts';

/**
 * Waits until every module has been caught up by a run that was planned after this call.
 * @throws {HarnessError} `TIMED_OUT`
 */
export async function waitUntilCaughtUp({ databaseUrl }: Pick<Lockstep, 'databaseUrl'>, { modules, timeoutMs = 60_000 }: { modules: readonly string[]; timeoutMs?: number }): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const { rows } = await client.query<{ last: number }>('select coalesce(max(id), 0) as last from lockstep.catch_up');
    await waitUntil(
      'a catch-up of every module',
      async () => {
        const done = await client.query<{ module: string }>(`select distinct module from lockstep.catch_up where id > $1 and state = 'complete'`, [rows[0]?.last ?? 0]);
        return modules.every((name) => done.rows.some(({ module }) => module === name)) ? true : null;
      },
      { timeoutMs, everyMs: 100 },
    );
  } finally {
    await client.end();
  }
}

/**
 * Waits until the log is claimed to have every change of these modules up to now, whether or not the projector has applied it.
 * @throws {HarnessError} `TIMED_OUT`
 */
export async function waitUntilClaimed({ databaseUrl }: Pick<Lockstep, 'databaseUrl'>, { modules, timeoutMs = 60_000 }: { modules: readonly string[]; timeoutMs?: number }): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const sinceMs = Date.now();
    await waitUntil(
      'a watermark of every module',
      async () => {
        const { rows } = await client.query<{ module: string }>(`select module from lockstep.watermark where kind = 'changes' group by module having max(at) > to_timestamp($1::numeric / 1000)`, [sinceMs]);
        return modules.every((name) => rows.some(({ module }) => module === name)) ? true : null;
      },
      { timeoutMs, everyMs: 100 },
    );
  } finally {
    await client.end();
  }
}
