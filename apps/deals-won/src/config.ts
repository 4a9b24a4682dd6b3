import { resolve } from 'node:path';

import { type ConsumerConfig, loadConsumerConfig } from '@lockstep/consumer';
import { ConfigError, loadTogether, parseEnv } from '@lockstep/telemetry';
import { z } from 'zod';

import { NAME } from './deals-won.ts';

const schema = z.object({
  DEALS_WON_URL: z.url({ protocol: /^https?$/ }).optional().describe('where won deals are posted to'),
  DEALS_WON_SECRET: z.string().min(16).optional().describe('shared with the receiver, which checks signatures by it; at least 16 characters'),
  DEALS_WON_NDJSON: z.string().min(1).optional().describe('a file that gets a line for each won deal, instead of a receiver'),
  DEALS_WON_STAGE: z.string().min(1).default('Closed Won').describe('the stage of a won deal'),
});

/** Where won deals go. */
export type Target = { readonly url: string; readonly secret: string } | { readonly file: string };

/** What this consumer needs to know, checked. */
export type Config = { readonly consumer: ConsumerConfig; readonly stage: string; readonly target: Target };

/** @throws {ConfigError} naming each variable that is missing or wrong. */
export function loadConfig(env: NodeJS.ProcessEnv): Config {
  const [own, consumer] = loadTogether(() => ownConfig(env), () => loadConsumerConfig(env, { name: NAME, port: 8084 }));
  return { ...own, consumer };
}

/** Npm says in `INIT_CWD` where it was called: Nx starts each app in its own folder, and a relative path is meant from there. */
function ownConfig(env: NodeJS.ProcessEnv): Omit<Config, 'consumer'> {
  const { DEALS_WON_URL: url, DEALS_WON_SECRET: secret, DEALS_WON_NDJSON: file, DEALS_WON_STAGE: stage } = parseEnv(schema, env);
  if ((url === undefined) === (file === undefined)) throw new ConfigError(['DEALS_WON_URL, DEALS_WON_NDJSON: one of the two has to be set']);
  if (url !== undefined && secret === undefined) throw new ConfigError(['DEALS_WON_SECRET: it has to be set with DEALS_WON_URL']);
  return { stage, target: file === undefined ? { url: url as string, secret: secret as string } : { file: resolve(env['INIT_CWD'] ?? '.', file) } };
}
