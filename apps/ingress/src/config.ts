import { checkReadable, type CrmConfig, loadCrmConfig } from '@lockstep/crm-client';
import { type KafkaConfig, loadKafkaConfig } from '@lockstep/kafka';
import { loggedFields, type ModuleDefinition, selectModules } from '@lockstep/modules';
import { loadPostgresConfig, type PostgresConfig } from '@lockstep/postgres';
import { loadTogether, parseEnv } from '@lockstep/telemetry';
import { z } from 'zod';

const schema = z.object({
  INGRESS_HOST: z.string().default('127.0.0.1').describe('address to listen on'),
  INGRESS_PORT: z.coerce.number().int().min(0).max(65_535).default(8081).describe('port to listen on'),
  LOCKSTEP_SECRET: z.string().min(16).describe('at least 16 random characters; the tokens of channels and the secret path are derived from it'),
  LOCKSTEP_MODULES: z.string().default('Leads,Deals,Products').describe('modules to read, by API name'),
  LOCKSTEP_DATA_DIR: z.string().default('.lockstep/data').describe('folder for downloaded bulk results'),
  LOCKSTEP_PARTITIONS: z.coerce.number().int().min(1).max(256).default(4).describe('partitions of a topic that does not exist yet'),
  INGRESS_MAX_BODY_BYTES: z.coerce.number().int().min(1_000).default(1_000_000).describe('largest notification taken'),
  INGRESS_LOOK_INTERVAL_MS: z.coerce.number().int().min(0).default(100).describe('shortest time between two looks at a module that are not full'),
  LOCKSTEP_EPSILON_MS: z.coerce.number().int().min(0).default(60_000).describe('clock skew and read lag inside the CRM to allow for'),
  LOG_LEVEL: z.string().optional(),
});

/** What the ingress needs to know, checked. */
export type Config = {
  readonly host: string;
  readonly port: number;
  readonly secret: string;
  readonly modules: readonly ModuleDefinition[];
  readonly dataDir: string;
  readonly partitions: number;
  readonly maxBodyBytes: number;
  readonly lookIntervalMs: number;
  readonly epsilonMs: number;
  readonly logLevel: string | undefined;
  readonly kafka: KafkaConfig;
  readonly postgres: PostgresConfig;
  readonly crm: CrmConfig;
};

/** @throws {ConfigError} naming each variable that is missing or wrong. */
export function loadConfig(env: NodeJS.ProcessEnv): Config {
  const [values, crm, kafka, postgres] = loadTogether(() => parseEnv(schema, env), () => loadCrmConfig(env), () => loadKafkaConfig(env), () => loadPostgresConfig(env));
  const modules = selectModules(values.LOCKSTEP_MODULES);
  for (const module of modules) checkReadable(crm.version, { apiName: module.apiName, fields: loggedFields(module) });
  return {
    host: values.INGRESS_HOST,
    port: values.INGRESS_PORT,
    secret: values.LOCKSTEP_SECRET,
    modules,
    dataDir: values.LOCKSTEP_DATA_DIR,
    partitions: values.LOCKSTEP_PARTITIONS,
    maxBodyBytes: values.INGRESS_MAX_BODY_BYTES,
    lookIntervalMs: values.INGRESS_LOOK_INTERVAL_MS,
    epsilonMs: values.LOCKSTEP_EPSILON_MS,
    logLevel: values.LOG_LEVEL,
    kafka,
    postgres,
    crm,
  };
}
