import { randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { checkoutDir, fetchJson, type Lockstep, startLockstep, type StatusView, statusOf, waitUntilLoaded } from '@lockstep/harness';
import { Command, InvalidArgumentError, Option } from 'commander';

import { liveLine } from './live-line.ts';
import { guideText, statusLine } from './text.ts';

/*
 * npm start: stack, CRM simulator (or the real CRM that CRM_* names) and the three apps under Nx; shows the first load, says
 * what to try, and runs until Ctrl-C.
 */

function whole(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0) throw new InvalidArgumentError('a whole number, 0 or more');
  return value;
}

const program = new Command('npm start --')
  .description('Starts the stack, the CRM simulator and the three apps. With CRM_CLIENT_ID, CRM_CLIENT_SECRET and CRM_REFRESH_TOKEN set, the real CRM instead.')
  .option('--leads <number>', 'Leads in the simulated CRM', whole, 20_000)
  .option('--deals <number>', 'Deals in it', whole, 20_000)
  .option('--products <number>', 'Products in it', whole, 20_000)
  .option('--once', 'end after the first load instead of running on', false)
  .addOption(new Option('--api-version <version>', 'version of the CRM\'s API').choices(['v6', 'v7', 'v8']).default('v8'));

type Given = { leads: number; deals: number; products: number; once: boolean; apiVersion: 'v6' | 'v7' | 'v8' };

const SHOW_EVERY_MS = 2_000;
const LIGHT_TRAFFIC = { editsPerSecond: 2, createsPerSecond: 0.2, deletesPerSecond: 0.1 };

const given = program.parse().opts<Given>();
const out = process.stdout;
const line = liveLine(out);
// A terminal that was closed takes no more words; everything is ended in order all the same.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
const stopping = new AbortController();
// Ctrl-C may come twice: from the terminal, and passed on by the process that started this.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stopping.abort());
const stopped = new Promise<'stopped'>((resolve) => {
  stopping.signal.addEventListener('abort', () => resolve('stopped'));
});

let lockstep: Lockstep | undefined;
try {
  lockstep = await started();
  if (lockstep !== undefined) await accompany(lockstep);
} catch (error) {
  line.done();
  process.stderr.write(`\n${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
} finally {
  line.done();
  out.write('Stopping …\n');
  await lockstep?.stop();
}
process.exit();

/** Undefined when it was stopped before everything ran. */
async function started(): Promise<Lockstep | undefined> {
  const isReal = process.env['CRM_CLIENT_ID'] !== undefined;
  if (isReal && process.env['LOCKSTEP_PUBLIC_URL'] === undefined) {
    throw new Error('LOCKSTEP_PUBLIC_URL is not set: the real CRM has to reach the ingress, e.g. by a tunnel to INGRESS_PORT. See the README, "Connecting a real account".');
  }
  out.write(isReal ? 'Starting Kafka, Postgres and the apps …\n' : 'Starting Kafka, Postgres, the CRM simulator and the apps …\n');
  const starting = startLockstep({
    // The simulated CRM begins again each time, so what was copied from the last one would be wrong.
    fresh: !isReal,
    simulator: isReal ? null : ['--leads', String(given.leads), '--deals', String(given.deals), '--products', String(given.products)],
    apiVersion: given.apiVersion,
    underNx: true,
    env: isReal ? { LOCKSTEP_SECRET: process.env['LOCKSTEP_SECRET'] ?? (await keptSecret()) } : {},
    ...(isReal && process.env['INGRESS_PORT'] !== undefined ? { ingressPort: Number(process.env['INGRESS_PORT']) } : {}),
    log: (text) => out.write(`${text}\n`),
    signal: stopping.signal,
  });
  return await starting.catch((error: unknown) => {
    if (stopping.signal.aborted) return undefined;
    throw error;
  });
}

async function accompany(running: Lockstep): Promise<void> {
  const { simulator } = running;
  if (simulator !== undefined) await fetchJson(`${simulator.url}/__simulator/traffic`, { method: 'POST', body: LIGHT_TRAFFIC });
  const broken = running.broken.then((what) => {
    throw new Error(`${what}; its log is in .lockstep/logs`);
  });
  const startedMs = performance.now();
  const show = (status: StatusView): void => line.show(statusLine(status));
  const loaded = await Promise.race([waitUntilLoaded(running, { timeoutMs: 24 * 60 * 60_000, onStatus: show }), stopped, broken]);
  if (loaded === 'stopped') return;
  line.done();
  const seconds = (performance.now() - startedMs) / 1000;
  const exampleId = simulator === undefined ? undefined : (await fetchJson<string[]>(`${simulator.url}/__simulator/ids/Leads?first=1`))[0];
  out.write(guideText({ status: loaded, seconds, databaseUrl: running.databaseUrl, exampleId, urls: running.urls }));
  if (given.once) return;
  await Promise.race([keepShowing(running, show), stopped, broken]);
}

async function keepShowing(running: Lockstep, show: (status: StatusView) => void): Promise<never> {
  for (;;) {
    const status = await statusOf(running).catch(() => null);
    if (status !== null) show(status);
    await new Promise((resolve) => {
      setTimeout(resolve, SHOW_EVERY_MS);
    });
  }
}

/** The channels of a real account outlive a restart, so their secret does too. */
async function keptSecret(): Promise<string> {
  const file = join(checkoutDir, '.lockstep/secret');
  const known = await readFile(file, 'utf8').catch(() => '');
  if (known !== '') return known.trim();
  const secret = randomBytes(24).toString('base64url');
  await mkdir(join(checkoutDir, '.lockstep'), { recursive: true });
  await writeFile(file, secret, { mode: 0o600 });
  return secret;
}
