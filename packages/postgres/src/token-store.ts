import type { PoolClient } from 'pg';

import type { Database } from './database.ts';
import { ms } from './epoch.ts';

/** The CRM's access token that all processes share, and how long it still lives by the database's clock. */
export type StoredToken = { readonly token: string; readonly livesMs: number; readonly apiDomain?: string };

/** What is seen and done while no other process asks for a token. */
export type StoredTokenTurn = {
  readonly current: StoredToken | undefined;
  /** How long ago each of the latest tokens was requested, granted or not, latest first; negative after the database's clock was set back. */
  readonly askedAgoMs: readonly number[];
  /** Notes that one is requested now. It stays noted, even if this process ends before the answer. */
  readonly asking: () => Promise<void>;
  readonly write: (token: StoredToken) => Promise<void>;
};

/** Where the shared token is kept. */
export interface TokenStore {
  read(): Promise<StoredToken | undefined>;
  /** Runs the work while no other process asks for a token. */
  exclusively<T>(work: (turn: StoredTokenTurn) => Promise<T>): Promise<T>;
}

type Row = { token: string | null; lives_ms: number | null; api_domain: string | null; asked_ago_ms: number[] };

// Spans, not times: each process has a clock of its own.
const select = `select token, ${ms('(expires_at - clock_timestamp())', 'lives_ms')}, api_domain,
  array(select extract(epoch from clock_timestamp() - at) * 1000 from unnest(refreshed_at) with ordinality as asked (at, n) order by n)::float8[] as asked_ago_ms
  from lockstep.access_token where id = $1`;
const noteAsking = `update lockstep.access_token set refreshed_at = (array_prepend(clock_timestamp(), refreshed_at))[1:10] where id = $1`;
const write = `update lockstep.access_token set token = $2, expires_at = clock_timestamp() + make_interval(secs => $3::float8 / 1000), api_domain = $4 where id = $1`;

/** The token in `lockstep.access_token`. An advisory lock makes asking exclusive; each statement stands by itself, so that what was noted stays. */
export function tokenStore({ pool }: Pick<Database, 'pool'>, id = 'crm'): TokenStore {
  return {
    read: async () => stored((await pool.query<Row>(select, [id])).rows[0]),
    exclusively: async (work) => {
      const client = await pool.connect();
      // A connection that still has the lock, or is broken, is closed: the lock ends with it.
      try {
        await client.query('select pg_advisory_lock(hashtext($1), hashtext($2))', lockOf(id));
        await client.query('insert into lockstep.access_token (id) values ($1) on conflict do nothing', [id]);
        return await work(await turnOf(client, id));
      } finally {
        const isFree = await client.query('select pg_advisory_unlock(hashtext($1), hashtext($2))', lockOf(id)).then(() => true, () => false);
        client.release(!isFree);
      }
    },
  };
}

const lockOf = (id: string): string[] => ['lockstep token', id];

async function turnOf(client: PoolClient, id: string): Promise<StoredTokenTurn> {
  const row = (await client.query<Row>(select, [id])).rows[0];
  return {
    current: stored(row),
    askedAgoMs: row?.asked_ago_ms ?? [],
    asking: async () => void (await client.query(noteAsking, [id])),
    write: async ({ token, livesMs, apiDomain }) => void (await client.query(write, [id, token, livesMs, apiDomain ?? null])),
  };
}

function stored(row: Row | undefined): StoredToken | undefined {
  if (row === undefined || row.token === null || row.lives_ms === null) return undefined;
  return { token: row.token, livesMs: row.lives_ms, ...(row.api_domain === null ? {} : { apiDomain: row.api_domain }) };
}
