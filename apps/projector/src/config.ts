import { type KafkaConfig, loadKafkaConfig } from '@lockstep/kafka';
import { type ModuleDefinition, selectModules } from '@lockstep/modules';
import { loadPostgresConfig, type PostgresConfig } from '@lockstep/postgres';
import { parseEnv } from '@lockstep/telemetry';
import { z } from 'zod';

const schema = z.object({
  PROJECTOR_HOST: z.string().default('127.0.0.1').describe('address of health and metrics'),
  PROJECTOR_PORT: z.coerce.number().int().min(0).max(65_535).default(8082).describe('port of health and metrics'),
  LOCKSTEP_MODULES: z.string().default('Leads,Deals,Products').describe('modules to project, by API name'),
  PROJECTOR_LANES: z.coerce.number().int().min(1).max(16).default(2).describe('database connections that write at once'),
  PROJECTOR_MAX_BATCH: z.coerce.number().int().min(1).max(100_000).default(10_000).describe('messages a transaction'),
  PROJECTOR_MAX_QUEUED_BYTES: z.coerce.number().int().min(1_000_000).default(24_000_000).describe('bytes of messages that may wait, in all lanes'),
  LOCKSTEP_EPSILON_MS: z.coerce.number().int().min(0).default(60_000).describe('clock skew and read lag inside the CRM to allow for'),
  LOCKSTEP_LOCAL_STACK: z.stringbool().default(false).describe('accept a broker without replicas'),
  LOG_LEVEL: z.string().optional(),
});

/** What the projector needs to know, checked. */
export type Config = {
  readonly host: string;
  readonly port: number;
  readonly modules: readonly ModuleDefinition[];
  readonly lanes: number;
  readonly maxBatchMessages: number;
  readonly maxQueuedBytes: number;
  readonly epsilonMs: number;
  readonly isLocalStack: boolean;
  readonly logLevel: string | undefined;
  readonly kafka: KafkaConfig;
  readonly postgres: PostgresConfig;
};

/** @throws {Error} naming each variable that is missing or wrong. */
export function loadConfig(env: NodeJS.ProcessEnv): Config {
  const values = parseEnv(schema, env);
  return {
    host: values.PROJECTOR_HOST,
    port: values.PROJECTOR_PORT,
    modules: selectModules(values.LOCKSTEP_MODULES),
    lanes: values.PROJECTOR_LANES,
    maxBatchMessages: values.PROJECTOR_MAX_BATCH,
    maxQueuedBytes: values.PROJECTOR_MAX_QUEUED_BYTES,
    epsilonMs: values.LOCKSTEP_EPSILON_MS,
    isLocalStack: values.LOCKSTEP_LOCAL_STACK,
    logLevel: values.LOG_LEVEL,
    kafka: loadKafkaConfig(env),
    postgres: loadPostgresConfig(env),
  };
}
