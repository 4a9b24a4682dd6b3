import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { z } from 'zod';

import { UsageError } from './errors.ts';

const schema = z.object({ scheduler: z.url(), projector: z.url().optional(), kafkaBrokers: z.array(z.string()), databaseUrl: z.string().default(''), crm: z.record(z.string(), z.string()).default({}) });

/** Where the Lockstep that `npm start` runs can be reached. */
export type Run = z.infer<typeof schema>;

const file = join(fileURLToPath(import.meta.url), '../../../../.lockstep/run.json');

/** @throws {UsageError} when nothing was started from this checkout. */
export async function readRun(): Promise<Run> {
  const text = await readFile(file, 'utf8').catch(() => {
    throw new UsageError('Nothing runs here: start it with "npm start", or name it with LOCKSTEP_SCHEDULER_URL and CRM_*.');
  });
  return schema.parse(JSON.parse(text));
}

/** The environment, with the brokers and the database of what runs here where it does not name them itself. */
export async function environment(...names: readonly ('KAFKA_BROKERS' | 'DATABASE_URL')[]): Promise<NodeJS.ProcessEnv> {
  if (names.every((name) => process.env[name] !== undefined)) return process.env;
  const { kafkaBrokers, databaseUrl } = await readRun();
  return { KAFKA_BROKERS: kafkaBrokers.join(','), DATABASE_URL: databaseUrl, ...process.env };
}
