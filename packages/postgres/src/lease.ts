import type { PoolClient } from 'pg';

import type { Database } from './database.ts';

/*
 * A process that dies closes its connection, and the role is free at once. A host that vanishes closes nothing: then the server
 * finds out, within eleven seconds instead of Linux's two hours.
 */
const noticeDeadHolder = 'set tcp_keepalives_idle = 5; set tcp_keepalives_interval = 2; set tcp_keepalives_count = 3';

/** A role that one process holds at a time. It ends by itself when the process or its connection does. */
export type Lease = {
  /** Aborted when the lease is lost or released; hand it to everything done under the lease. */
  readonly signal: AbortSignal;
  release(): Promise<void>;
};

/**
 * Tries to take a role, by a session-level advisory lock on a connection of its own.
 * @param role e.g. `scheduler`; one name, one holder in the whole database.
 * @returns null while another process holds it: ask again a little later.
 */
export async function lease({ pool }: Database, role: string): Promise<Lease | null> {
  const client = await pool.connect();
  const key = ['lockstep', role];
  try {
    const { rows } = await client.query<{ held: boolean }>('select pg_try_advisory_lock(hashtext($1), hashtext($2)) as held', key);
    if (rows[0]?.held === true) {
      await client.query(noticeDeadHolder);
      return held(client, key);
    }
  } catch (error) {
    client.release(true);
    throw error;
  }
  client.release();
  return null;
}

function held(client: PoolClient, key: string[]): Lease {
  const lost = new AbortController();
  // The connection is closed, not returned: whatever else happens, the role is free.
  const end = (): void => {
    if (lost.signal.aborted) return;
    lost.abort();
    client.release(true);
  };
  client.on('error', end);
  client.on('end', end);
  return {
    signal: lost.signal,
    release: async () => {
      if (lost.signal.aborted) return;
      await client.query('select pg_advisory_unlock(hashtext($1), hashtext($2))', key).catch(() => undefined);
      end();
    },
  };
}
