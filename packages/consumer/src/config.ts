import { type KafkaConfig, loadKafkaConfig } from '@lockstep/kafka';
import { loadPostgresConfig, type PostgresConfig } from '@lockstep/postgres';
import { loadTogether, parseEnv } from '@lockstep/telemetry';
import { z } from 'zod';

/** What every consumer needs to know, checked. */
export type ConsumerConfig = {
  readonly host: string;
  readonly port: number;
  readonly epsilonMs: number;
  readonly maxBatchMessages: number;
  readonly startFrom: 'beginning' | 'now';
  readonly isLocalStack: boolean;
  readonly logLevel: string | undefined;
  readonly kafka: KafkaConfig;
  readonly postgres: PostgresConfig;
};

const common = z.object({
  CONSUMER_MAX_BATCH: z.coerce.number().int().min(1).max(100_000).default(1_000).describe('messages a transaction'),
  CONSUMER_START: z.enum(['beginning', 'now']).default('beginning').describe('what a consumer that starts for the first time begins with'),
  LOCKSTEP_EPSILON_MS: z.coerce.number().int().min(0).default(60_000).describe('clock skew and read lag inside the CRM to allow for'),
  LOCKSTEP_LOCAL_STACK: z.stringbool().default(false).describe('accept a broker without replicas'),
  LOG_LEVEL: z.string().optional(),
});

/**
 * Reads what every consumer needs. Host and port are named after the consumer, e.g. `DEALS_WON_PORT`, so that several can share an environment; its database is
 * `CONSUMER_DATABASE_URL`, or else `DATABASE_URL`.
 * @param port where health and metrics are served by default.
 * @throws {ConfigError} naming each variable that is missing or wrong.
 */
export function loadConsumerConfig(env: NodeJS.ProcessEnv, { name, port }: { readonly name: string; readonly port: number }): ConsumerConfig {
  const [values, address, kafka, postgres] = loadTogether(() => parseEnv(common, env), () => addressOf(env, name, port), () => loadKafkaConfig(env), () => loadPostgresConfig(databaseOf(env)));
  return {
    ...address,
    epsilonMs: values.LOCKSTEP_EPSILON_MS,
    maxBatchMessages: values.CONSUMER_MAX_BATCH,
    startFrom: values.CONSUMER_START,
    isLocalStack: values.LOCKSTEP_LOCAL_STACK,
    logLevel: values.LOG_LEVEL,
    kafka,
    postgres,
  };
}

/** The environment with the consumers' database as `DATABASE_URL`. */
export const databaseOf = (env: NodeJS.ProcessEnv): NodeJS.ProcessEnv => ({ ...env, DATABASE_URL: env['CONSUMER_DATABASE_URL'] ?? env['DATABASE_URL'] });

function addressOf(env: NodeJS.ProcessEnv, name: string, port: number): { readonly host: string; readonly port: number } {
  const prefix = name.toUpperCase().replaceAll('-', '_');
  const [hostName, portName] = [`${prefix}_HOST`, `${prefix}_PORT`];
  const schema = z.object({
    [hostName]: z.string().default('127.0.0.1').describe('address of health and metrics'),
    [portName]: z.coerce.number().int().min(0).max(65_535).default(port).describe('port of health and metrics'),
  });
  const values = parseEnv(schema, env) as Record<string, string | number>;
  return { host: values[hostName] as string, port: values[portName] as number };
}
