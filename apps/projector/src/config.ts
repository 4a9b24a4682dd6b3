import { type KafkaConfig, loadKafkaConfig } from '@lockstep/kafka';
import { type ModuleDefinition, modules, selectModules } from '@lockstep/modules';
import { loadPostgresConfig, type PostgresConfig } from '@lockstep/postgres';
import { parseEnv } from '@lockstep/telemetry';
import { z } from 'zod';

import { loadDefinitions } from './definitions.ts';

const schema = z.object({
  PROJECTOR_HOST: z.string().default('127.0.0.1').describe('address of health and metrics'),
  PROJECTOR_PORT: z.coerce.number().int().min(0).max(65_535).default(8082).describe('port of health and metrics'),
  LOCKSTEP_MODULES: z.string().optional().describe('modules to project, by API name'),
  LOCKSTEP_MODULE_DEFINITIONS: z.string().min(1).optional().describe('a file that exports other module definitions, for another database'),
  LOCKSTEP_CONSUMER_GROUP: z.string().min(1).default('lockstep-projector').describe('consumer group: each database has one of its own'),
  PROJECTOR_LANES: z.coerce.number().int().min(1).max(16).default(2).describe('database connections that write at once, for each module'),
  PROJECTOR_MAX_BATCH: z.coerce.number().int().min(1).max(100_000).default(10_000).describe('messages a transaction'),
  PROJECTOR_MAX_QUEUED_BYTES: z.coerce.number().int().min(1_000_000).default(24_000_000).describe('bytes of messages that may wait, for each module'),
  LOCKSTEP_EPSILON_MS: z.coerce.number().int().min(0).default(60_000).describe('clock skew and read lag inside the CRM to allow for'),
  LOCKSTEP_LOCAL_STACK: z.stringbool().default(false).describe('accept a broker without replicas'),
  LOG_LEVEL: z.string().optional(),
});

/** What the projector needs to know, checked. */
export type Config = {
  readonly host: string;
  readonly port: number;
  readonly modules: readonly ModuleDefinition[];
  readonly groupId: string;
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
export async function loadConfig(env: NodeJS.ProcessEnv): Promise<Config> {
  const values = parseEnv(schema, env);
  const known = values.LOCKSTEP_MODULE_DEFINITIONS === undefined ? modules : await loadDefinitions(values.LOCKSTEP_MODULE_DEFINITIONS);
  return {
    host: values.PROJECTOR_HOST,
    port: values.PROJECTOR_PORT,
    modules: values.LOCKSTEP_MODULES === undefined ? known : selectModules(values.LOCKSTEP_MODULES, known),
    groupId: values.LOCKSTEP_CONSUMER_GROUP,
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
