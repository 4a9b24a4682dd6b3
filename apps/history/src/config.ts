import { type ConsumerConfig, loadConsumerConfig } from '@lockstep/consumer';
import { type ModuleDefinition, modules, selectModules } from '@lockstep/modules';
import { loadTogether, parseEnv } from '@lockstep/telemetry';
import { z } from 'zod';

import { NAME } from './tables.ts';

const schema = z.object({ HISTORY_MODULES: z.string().optional().describe('modules whose history is kept, by API name') });

/** What this consumer needs to know, checked. */
export type Config = { readonly consumer: ConsumerConfig; readonly modules: readonly ModuleDefinition[] };

/** @throws {ConfigError} naming each variable that is missing or wrong. */
export function loadConfig(env: NodeJS.ProcessEnv): Config {
  const [{ HISTORY_MODULES: names }, consumer] = loadTogether(() => parseEnv(schema, env), () => loadConsumerConfig(env, { name: NAME, port: 8085 }));
  return { consumer, modules: names === undefined ? modules : selectModules(names) };
}
