import type { Database } from './database.ts';

/** The CRM's access token that all processes share, and when it was refreshed lately (the CRM allows ten in ten minutes). */
export type StoredToken = { readonly token: string; readonly expiresAt: Date; readonly apiDomain?: string; readonly refreshedAt?: readonly Date[] };

/** Where the shared token is kept. */
export interface TokenStore {
  read(): Promise<StoredToken | undefined>;
  /** Runs the work while no other process refreshes; it sees the current token and may write a new one. */
  exclusively<T>(work: (current: StoredToken | undefined, write: (token: StoredToken) => Promise<void>) => Promise<T>): Promise<T>;
}

type Row = { token: string | null; expires_at: Date | string; api_domain: string | null; refreshed_at: (Date | string)[] };

const columns = `token, expires_at, api_domain, to_json(refreshed_at) as refreshed_at`;
const write = `update lockstep.access_token set token = $2, expires_at = $3, api_domain = $4,
  refreshed_at = (array_prepend(now(), refreshed_at))[1:10] where id = $1`;

/** The token in `lockstep.access_token`; a row lock makes refreshing exclusive. */
export function tokenStore({ pool }: Database, id = 'crm'): TokenStore {
  return {
    read: async () => stored((await pool.query<Row>(`select ${columns} from lockstep.access_token where id = $1`, [id])).rows[0]),
    exclusively: async (work) => {
      const client = await pool.connect();
      try {
        await client.query('insert into lockstep.access_token (id) values ($1) on conflict do nothing', [id]);
        await client.query('begin');
        const { rows } = await client.query<Row>(`select ${columns} from lockstep.access_token where id = $1 for update`, [id]);
        const result = await work(stored(rows[0]), async (next) => {
          await client.query(write, [id, next.token, next.expiresAt, next.apiDomain ?? null]);
        });
        await client.query('commit');
        return result;
      } catch (error) {
        await client.query('rollback').catch(() => undefined);
        throw error;
      } finally {
        client.release();
      }
    },
  };
}

function stored(row: Row | undefined): StoredToken | undefined {
  if (row === undefined || row.token === null) return undefined;
  return {
    token: row.token,
    expiresAt: new Date(row.expires_at),
    ...(row.api_domain === null ? {} : { apiDomain: row.api_domain }),
    refreshedAt: row.refreshed_at.map((at) => new Date(at)),
  };
}
