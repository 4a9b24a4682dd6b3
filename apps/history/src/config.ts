import { type ConsumerConfig, loadConsumerConfig } from '@lockstep/consumer';
import { type ModuleDefinition, modules, selectModules } from '@lockstep/modules';
import { parseEnv } from '@lockstep/telemetry';
import { z } from 'zod';

import { NAME } from './tables.ts';

const schema = z.object({ HISTORY_MODULES: z.string().optional().describe('modules whose history is kept, by API name') });

/** What this consumer needs to know, checked. */
export type Config = { readonly consumer: ConsumerConfig; readonly modules: readonly ModuleDefinition[] };

/** @throws {Error} naming each variable that is missing or wrong. */
export function loadConfig(env: NodeJS.ProcessEnv): Config {
  const { HISTORY_MODULES: names } = parseEnv(schema, env);
  return { consumer: loadConsumerConfig(env, { name: NAME, port: 8085 }), modules: names === undefined ? modules : selectModules(names) };
}
