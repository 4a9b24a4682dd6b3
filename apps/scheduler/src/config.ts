import { type AlertConfig, loadAlertConfig } from '@lockstep/alerts';
import { type CatchUpRules, defaultCatchUpRules } from '@lockstep/completeness';
import { checkReadable, type CrmConfig, loadCrmConfig } from '@lockstep/crm-client';
import { type KafkaConfig, loadKafkaConfig } from '@lockstep/kafka';
import { loggedFields, type ModuleDefinition, selectModules } from '@lockstep/modules';
import { loadPostgresConfig, type PostgresConfig } from '@lockstep/postgres';
import { loadTogether, parseEnv } from '@lockstep/telemetry';
import { z } from 'zod';

const schema = z.object({
  SCHEDULER_HOST: z.string().default('127.0.0.1').describe('address of status, health and metrics'),
  SCHEDULER_PORT: z.coerce.number().int().min(0).max(65_535).default(8083).describe('port of status, health and metrics'),
  LOCKSTEP_SECRET: z.string().min(16).describe('at least 16 random characters, the same as the ingress has'),
  LOCKSTEP_PUBLIC_URL: z.url().max(150).describe('where the CRM reaches the ingress, e.g. https://lockstep.example.com'),
  LOCKSTEP_MODULES: z.string().default('Leads,Deals,Products').describe('modules to keep in step, by API name'),
  SCHEDULER_CATCH_UP_INTERVAL_MS: z.coerce.number().int().min(1_000).default(defaultCatchUpRules.intervalMs).describe('from one catch-up of a module to the next'),
  SCHEDULER_WATERMARK_MARGIN_MS: z.coerce.number().int().min(1_000).default(defaultCatchUpRules.marginMs).describe('how late a change may become visible in the CRM: freshness claims nothing younger'),
  SCHEDULER_REFRESH_EVERY_HOURS: z.coerce.number().min(0.01).default(168).describe('from one reading of a whole module to the next'),
  LOCKSTEP_VERIFY_EVERY_HOURS: z.coerce.number().min(0).default(168).describe('from one comparison of a table with its log to the next; 0 for none'),
  LOG_LEVEL: z.string().optional(),
});

/** What the scheduler needs to know, checked. */
export type Config = {
  readonly host: string;
  readonly port: number;
  readonly secret: string;
  /** Without a slash at its end. */
  readonly publicUrl: string;
  readonly modules: readonly ModuleDefinition[];
  readonly catchUpRules: CatchUpRules;
  readonly refreshEveryMs: number;
  readonly verifyEveryMs: number;
  readonly logLevel: string | undefined;
  readonly kafka: KafkaConfig;
  readonly postgres: PostgresConfig;
  readonly crm: CrmConfig;
  readonly alerts: AlertConfig;
};

/** @throws {ConfigError} naming each variable that is missing or wrong. */
export function loadConfig(env: NodeJS.ProcessEnv): Config {
  const [values, crm, kafka, postgres, alerts] = loadTogether(() => parseEnv(schema, env), () => loadCrmConfig(env), () => loadKafkaConfig(env), () => loadPostgresConfig(env), () => loadAlertConfig(env));
  const modules = selectModules(values.LOCKSTEP_MODULES);
  for (const module of modules) checkReadable(crm.version, { apiName: module.apiName, fields: loggedFields(module) });
  return {
    host: values.SCHEDULER_HOST,
    port: values.SCHEDULER_PORT,
    secret: values.LOCKSTEP_SECRET,
    publicUrl: values.LOCKSTEP_PUBLIC_URL.replace(/\/+$/, ''),
    modules,
    catchUpRules: { ...defaultCatchUpRules, intervalMs: values.SCHEDULER_CATCH_UP_INTERVAL_MS, marginMs: values.SCHEDULER_WATERMARK_MARGIN_MS },
    refreshEveryMs: values.SCHEDULER_REFRESH_EVERY_HOURS * 3_600_000,
    verifyEveryMs: values.LOCKSTEP_VERIFY_EVERY_HOURS * 3_600_000,
    logLevel: values.LOG_LEVEL,
    kafka,
    postgres,
    crm,
    alerts,
  };
}
