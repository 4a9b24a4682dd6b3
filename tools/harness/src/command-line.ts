import { spawn } from 'node:child_process';
import { join } from 'node:path';

import type { Lockstep } from './lockstep.ts';
import { checkoutDir } from './paths.ts';

/** How a command ended, and what it printed. */
export type CommandResult = { readonly code: number; readonly out: string; readonly err: string };

/** Runs the real command line as a process, on what runs. */
export async function runCommand({ kafkaBrokers, databaseUrl, urls, simulator }: Pick<Lockstep, 'kafkaBrokers' | 'databaseUrl' | 'urls' | 'simulator'>, ...args: readonly string[]): Promise<CommandResult> {
  const crm = simulator === undefined ? {} : { CRM_API_URL: simulator.url, CRM_ACCOUNTS_URL: simulator.url, CRM_CLIENT_ID: 'simulator', CRM_CLIENT_SECRET: 'simulator', CRM_REFRESH_TOKEN: 'simulator' };
  const env = { ...process.env, ...crm, KAFKA_BROKERS: kafkaBrokers.join(','), DATABASE_URL: databaseUrl, LOCKSTEP_SCHEDULER_URL: urls.scheduler };
  const child = spawn(process.execPath, [join(checkoutDir, 'tools/cli/src/main.ts'), ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const texts = { out: '', err: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (texts.out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (texts.err += text));
  return await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code: code ?? -1, ...texts }));
  });
}
