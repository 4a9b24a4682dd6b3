import { MikroORM } from '@mikro-orm/postgresql';
import { Migrator } from '@mikro-orm/migrations';
import type { Pool, PoolClient } from 'pg';

import type { PostgresConfig } from './config.ts';
import { BulkPage, BulkRun, Channel } from './entities.ts';
import type { FencedLease } from './lease.ts';
import { migrationsList } from './migrations/index.ts';
import { pinSettings } from './session-settings.ts';

/** The connection to the legacy database: entities for what changes slowly, the pool for what must be fast. */
export type Database = {
  readonly orm: MikroORM;
  /** pg's own pool, the one the ORM uses, which also listens to its errors: COPY and pipelined statements go here. */
  readonly pool: Pool;
  /** Whether a trivial query is answered; used by readiness checks. */
  ping(): Promise<void>;
  /**
   * Connections of their own, on which job table, catch-ups, claims and channels can be changed only while the lease is held: once another process has taken the role,
   * a late statement fails. A query that is not answered within a minute fails as well.
   */
  fenced(lease: Pick<FencedLease, 'fence'>): Promise<Database>;
  close(): Promise<void>;
};

/**
 * Opens the pool. Nothing is created: see `migrate`. Each connection gets the settings of `session-settings.ts`, whatever its role's are.
 * @throws {DatabaseError} `DATABASE_UNREACHABLE` (retryable) when no connection can be had.
 */
export const connect = (config: PostgresConfig): Promise<Database> => open(config, { driverOptions: { onConnect: (client: PoolClient) => client.query(pinSettings) } });

/** What a leader has open at a time, at most. */
const FENCED_POOL_SIZE = 3;
const FENCED_QUERY_MS = 60_000;

/** A transaction of a process that stopped answering would keep the next holder waiting. */
const fenceSettings = (fence: string): string => `${pinSettings};
  set idle_in_transaction_session_timeout = '10s'; set tcp_keepalives_idle = 5; set tcp_keepalives_interval = 2; set tcp_keepalives_count = 3;
  select set_config('lockstep.fence', '${fence.replaceAll("'", "''")}', false)`;

async function open(config: PostgresConfig, { driverOptions }: { readonly driverOptions: Readonly<Record<string, unknown>> }): Promise<Database> {
  const orm = await MikroORM.init({
    clientUrl: config.url,
    entities: [BulkRun, BulkPage, Channel],
    extensions: [Migrator],
    pool: { min: 0, max: config.poolSize },
    // A server whose host vanished is noticed within half a minute, instead of Linux's two hours.
    driverOptions: { keepAlive: true, keepAliveInitialDelayMillis: 10_000, connectionTimeoutMillis: 10_000, ...driverOptions },
    migrations: { tableName: 'migration', schema: 'lockstep', migrationsList, snapshot: false, transactional: true, silent: true },
    forceUtcTimezone: true,
    ensureDatabase: false,
  });
  const pool: Pool = await orm.em.getConnection().getNativeClient();
  return {
    orm,
    pool,
    ping: async () => void (await pool.query('select 1')),
    fenced: ({ fence }) => open({ ...config, poolSize: FENCED_POOL_SIZE }, { driverOptions: { query_timeout: FENCED_QUERY_MS, onConnect: (client: PoolClient) => client.query(fenceSettings(fence)) } }),
    close: async () => {
      await orm.close(true);
      // The ORM ends the pool only where it has run a statement itself.
      if (!pool.ending) await pool.end();
    },
  };
}
