import { parseEnv } from '@lockstep/telemetry';
import { z } from 'zod';

const schema = z.object({
  DATABASE_URL: z.url({ protocol: /^postgres(ql)?$/ }).describe('the legacy database, e.g. postgres://user:password@host:5432/legacy'),
  DATABASE_POOL_SIZE: z.coerce.number().int().min(2).max(50).default(6).describe('connections of this process'),
});

/** Where the legacy database is. Schema `lockstep` lives in it, beside the tables of the legacy application. */
export type PostgresConfig = { readonly url: string; readonly poolSize: number };

/** @throws {Error} naming the variable that is missing or wrong. */
export function loadPostgresConfig(env: NodeJS.ProcessEnv): PostgresConfig {
  const { DATABASE_URL, DATABASE_POOL_SIZE } = parseEnv(schema, env);
  return { url: DATABASE_URL, poolSize: DATABASE_POOL_SIZE };
}
