import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

import type { PoolClient } from 'pg';

import type { Database } from './database.ts';

/*
 * A process that dies closes its connection, and the role is free at once. A host that vanishes closes nothing: then the server
 * finds out, within eleven seconds instead of Linux's two hours. A process that is stopped keeps its connection alive and says nothing: the
 * server ends it after twenty seconds of silence. The lock on `lockstep.lease` waits for what a former holder has begun to write.
 */
const IDLE_AT_MOST = '20s';
const noticeDeadHolder = `
  set tcp_keepalives_idle = 5; set tcp_keepalives_interval = 2; set tcp_keepalives_count = 3; set lock_timeout = '10s';
  select set_config('idle_session_timeout', '${IDLE_AT_MOST}', false) where current_setting('idle_session_timeout', true) is not null`;

/** How often the holder asks whether it still is one, and how long it waits for the answer: it gives up before the server does. */
const HEARTBEAT = { everyMs: 2_000, patienceMs: 8_000 };

/** A role that one process holds at a time. It ends by itself when the process or its connection does. */
export type Lease = {
  /** Aborted when the lease is lost or released; hand it to everything done under the lease. */
  readonly signal: AbortSignal;
  release(): Promise<void>;
};

/** A role of Lockstep itself. `fence` names this holding of it: greater each time it is taken. See `Database.fenced`. */
export type FencedLease = Lease & { readonly fence: string };

/**
 * Tries to take a role, by a session-level advisory lock on a connection of its own.
 * @param role e.g. `scheduler`; one name, one holder in the whole database.
 * @param heartbeat how often the connection is tried, and after how long without an answer the lease is given up.
 * @returns null while another process holds it: ask again a little later.
 */
export const lease = async (db: Pick<Database, 'pool'>, role: string, heartbeat = HEARTBEAT): Promise<Lease | null> => (await take(db, { role, heartbeat, prepare: async () => undefined }))?.lease ?? null;

/** The same in a database that has Lockstep's schema, where what is written in the name of a former holder is refused. */
export async function fencedLease(db: Pick<Database, 'pool'>, role: string, heartbeat = HEARTBEAT): Promise<FencedLease | null> {
  const taken = await take(db, { role, heartbeat, prepare: (client) => nextEpoch(client, role) });
  return taken === null ? null : { ...taken.lease, fence: `${role}:${taken.prepared}` };
}

type Taking<T> = { readonly role: string; readonly heartbeat: typeof HEARTBEAT; /** Done once the role is held, before the first heartbeat. */ readonly prepare: (client: PoolClient) => Promise<T> };

async function take<T>({ pool }: Pick<Database, 'pool'>, { role, heartbeat, prepare }: Taking<T>): Promise<{ readonly lease: Lease; readonly prepared: T } | null> {
  const client = await pool.connect();
  const key = ['lockstep', role];
  try {
    const { rows } = await client.query<{ held: boolean }>('select pg_try_advisory_lock(hashtext($1), hashtext($2)) as held', key);
    if (rows[0]?.held === true) {
      await client.query(noticeDeadHolder);
      const prepared = await prepare(client);
      return { lease: held(client, key, heartbeat), prepared };
    }
  } catch (error) {
    client.release(true);
    throw error;
  }
  client.release();
  return null;
}

async function nextEpoch(client: PoolClient, role: string): Promise<string> {
  const { rows } = await client.query<{ epoch: string }>('insert into lockstep.lease as l (role, epoch) values ($1, 1) on conflict (role) do update set epoch = l.epoch + 1 returning epoch', [role]);
  return rows[0]?.epoch ?? '';
}

function held(client: PoolClient, key: string[], heartbeat: typeof HEARTBEAT): Lease {
  const lost = new AbortController();
  // The connection is closed, not returned: whatever else happens, the role is free.
  const end = (): void => {
    if (lost.signal.aborted) return;
    lost.abort();
    client.release(true);
    socketOf(client)?.destroy();
  };
  client.on('error', end);
  client.on('end', end);
  void beat(client, heartbeat, lost.signal).then(end, end);
  return {
    signal: lost.signal,
    release: async () => {
      if (lost.signal.aborted) return;
      await Promise.race([client.query('select pg_advisory_unlock(hashtext($1), hashtext($2))', key).catch(() => undefined), sleep(heartbeat.patienceMs, undefined, { signal: lost.signal, ref: false }).catch(() => undefined)]);
      end();
    },
  };
}

/** Ends when the connection does not answer in time: then the server may have given the role to another process. */
async function beat(client: PoolClient, { everyMs, patienceMs }: typeof HEARTBEAT, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const answered = new AbortController();
    const silence = sleep(patienceMs, 'silent', { signal: answered.signal, ref: false }).catch(() => 'answered');
    const answer = client.query('select 1').then(() => 'answered');
    const outcome = await Promise.race([answer, silence]);
    answered.abort();
    // A query that fails later, as its connection is destroyed, has been judged.
    answer.catch(() => undefined);
    if (outcome === 'silent') return;
    await sleep(everyMs, undefined, { signal, ref: false });
  }
}

/** pg has no other way to close a connection whose peer does not answer. */
const socketOf = (client: PoolClient): Socket | undefined => (client as unknown as { connection?: { stream?: Socket } }).connection?.stream;
