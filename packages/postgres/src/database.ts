import { MikroORM } from '@mikro-orm/postgresql';
import { Migrator } from '@mikro-orm/migrations';
import type { Pool, PoolClient } from 'pg';

import type { PostgresConfig } from './config.ts';
import { BulkPage, BulkRun, Channel } from './entities.ts';
import { migrationsList } from './migrations/index.ts';
import { pinSettings } from './session-settings.ts';

/** The connection to the legacy database: entities for what changes slowly, the pool for what must be fast. */
export type Database = {
  readonly orm: MikroORM;
  /** pg's own pool, the one the ORM uses, which also listens to its errors: COPY and pipelined statements go here. */
  readonly pool: Pool;
  /** Whether a trivial query is answered; used by readiness checks. */
  ping(): Promise<void>;
  close(): Promise<void>;
};

/**
 * Opens the pool. Nothing is created: see `migrate`. Each connection gets the settings of `session-settings.ts`, whatever its role's are.
 * @throws {DatabaseError} `DATABASE_UNREACHABLE` (retryable) when no connection can be had.
 */
export async function connect(config: PostgresConfig): Promise<Database> {
  const orm = await MikroORM.init({
    clientUrl: config.url,
    entities: [BulkRun, BulkPage, Channel],
    extensions: [Migrator],
    pool: { min: 0, max: config.poolSize },
    driverOptions: { keepAlive: true, connectionTimeoutMillis: 10_000, onConnect: (client: PoolClient) => client.query(pinSettings) },
    migrations: { tableName: 'migration', schema: 'lockstep', migrationsList, snapshot: false, transactional: true, silent: true },
    forceUtcTimezone: true,
    ensureDatabase: false,
  });
  const pool: Pool = await orm.em.getConnection().getNativeClient();
  return {
    orm,
    pool,
    ping: async () => void (await pool.query('select 1')),
    close: async () => {
      await orm.close(true);
      // The ORM ends the pool only where it has run a statement itself.
      if (!pool.ending) await pool.end();
    },
  };
}
