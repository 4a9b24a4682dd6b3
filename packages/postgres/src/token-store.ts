import type { PoolClient } from 'pg';

import type { Database } from './database.ts';

/** The CRM's access token that all processes share. */
export type StoredToken = { readonly token: string; readonly expiresAt: Date; readonly apiDomain?: string };

/** What is seen and done while no other process asks for a token. */
export type StoredTokenTurn = {
  readonly current: StoredToken | undefined;
  /** When tokens were asked for lately, the latest first, whatever came of it. */
  readonly askedAt: readonly Date[];
  /** Notes that one is asked for now. It stays noted, even if this process ends before the answer. */
  readonly asking: (at: Date) => Promise<void>;
  readonly write: (token: StoredToken) => Promise<void>;
};

/** Where the shared token is kept. */
export interface TokenStore {
  read(): Promise<StoredToken | undefined>;
  /** Runs the work while no other process asks for a token. */
  exclusively<T>(work: (turn: StoredTokenTurn) => Promise<T>): Promise<T>;
}

type Row = { token: string | null; expires_at: Date | string | null; api_domain: string | null; refreshed_at: (Date | string)[] };

const select = `select token, expires_at, api_domain, to_json(refreshed_at) as refreshed_at from lockstep.access_token where id = $1`;
const noteAsking = `update lockstep.access_token set refreshed_at = (array_prepend($2::timestamptz, refreshed_at))[1:10] where id = $1`;
const write = `update lockstep.access_token set token = $2, expires_at = $3, api_domain = $4 where id = $1`;

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
    askedAt: (row?.refreshed_at ?? []).map((at) => new Date(at)),
    asking: async (at) => void (await client.query(noteAsking, [id, at])),
    write: async ({ token, expiresAt, apiDomain }) => void (await client.query(write, [id, token, expiresAt, apiDomain ?? null])),
  };
}

function stored(row: Row | undefined): StoredToken | undefined {
  if (row === undefined || row.token === null || row.expires_at === null) return undefined;
  return { token: row.token, expiresAt: new Date(row.expires_at), ...(row.api_domain === null ? {} : { apiDomain: row.api_domain }) };
}
