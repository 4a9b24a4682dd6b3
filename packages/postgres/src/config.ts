import { parseEnv } from '@lockstep/telemetry';
import { z } from 'zod';

/** With fewer, an app would wait for a connection that it holds itself. */
const LEAST_POOL = 4;

const schema = z.object({
  DATABASE_URL: z.url({ protocol: /^postgres(ql)?$/ }).describe('the legacy database, e.g. postgres://user:password@host:5432/legacy'),
  DATABASE_POOL_SIZE: z.coerce.number().int().min(LEAST_POOL, `at least ${LEAST_POOL}: two are held for as long as the process runs, for its lease and for what it listens to, and one while a token is fetched`).max(50).default(6).describe('connections of this process'),
});

/** Where the legacy database is. Schema `lockstep` lives in it, beside the tables of the legacy application. */
export type PostgresConfig = { readonly url: string; readonly poolSize: number };

/** @throws {Error} naming the variable that is missing or wrong. */
export function loadPostgresConfig(env: NodeJS.ProcessEnv): PostgresConfig {
  const { DATABASE_URL, DATABASE_POOL_SIZE } = parseEnv(schema, env);
  return { url: DATABASE_URL, poolSize: DATABASE_POOL_SIZE };
}
