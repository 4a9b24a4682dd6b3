import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

import type { Lockstep } from './lockstep.ts';
import { checkoutDir } from './paths.ts';

/** Runs `lockstep …` beside a running Lockstep, in a process of its own. @returns what it wrote. @throws when its exit code is not 0. */
export async function lockstepCommand({ kafkaBrokers, databaseUrl, urls }: Pick<Lockstep, 'kafkaBrokers' | 'databaseUrl' | 'urls'>, ...args: readonly string[]): Promise<string> {
  const env = { ...process.env, KAFKA_BROKERS: kafkaBrokers.join(','), DATABASE_URL: databaseUrl, SCHEDULER_URL: urls.scheduler };
  const { stdout } = await promisify(execFile)(process.execPath, [join(checkoutDir, 'tools/cli/src/main.ts'), ...args], { env, maxBuffer: 64_000_000 });
  return stdout;
}
