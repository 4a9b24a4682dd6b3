import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';

import { checkoutDir, type Lockstep, plantForeign, removeStackData, type Snapshot, startLockstep, takeSnapshot } from '@lockstep/harness';
import { Command, InvalidArgumentError, Option } from 'commander';

import { liveLine } from './live-line.ts';
import { runPermanent } from './permanent/run-permanent.ts';
import { permanentText } from './permanent/text.ts';
import { runDemo } from './run-demo.ts';
import { runStorm, stormEnvironment } from './storm/run-storm.ts';
import { stormNotice, stormText } from './storm/text.ts';
import { resultText, statusLine } from './text.ts';
import { problemsOfDemo, problemsOfPermanent, problemsOfStorm } from './verdict.ts';

/*
 * One shot, with a stack of its own in a folder that is removed afterwards: the first load of three modules while the CRM
 * changes, and the comparison of every value, the CRM's and others'. Exit code 0: all was compared and is right; 1: it was not, or could not be run.
 */

function whole(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0) throw new InvalidArgumentError('a whole number, 0 or more');
  return value;
}

const program = new Command('npm run demo --')
  .description('Runs the whole of Lockstep against the CRM simulator once, and proves the result.')
  .option('--leads <number>', 'Leads in the CRM', whole, 20_000)
  .option('--deals <number>', 'Deals in the CRM', whole, 2_000)
  .option('--products <number>', 'Products in the CRM', whole, 2_000)
  .option('--edits-per-second <rate>', 'edits while the first load runs', whole, 20)
  .option('--creates-per-second <rate>', 'creations meanwhile', whole, 2)
  .option('--deletes-per-second <rate>', 'deletions meanwhile', whole, 2)
  .option('--live-seconds <seconds>', 'how long the traffic goes on after the first load', whole, 10)
  .option('--page-size <rows>', 'rows of a bulk read page', whole, 200_000)
  .option('--seed <number>', 'decides every record and every change', whole, 1)
  .addOption(new Option('--faults <kind>', 'storm: faults of the CRM and kill -9 of apps, broker and database, at random; permanent: ten faults that do not pass, side by side').choices(['none', 'storm', 'permanent']).default('none'))
  .option('--storm-seconds <seconds>', 'how long a storm lasts', whole, 40)
  .option('--fault-seconds <seconds>', 'how long permanent faults stand', whole, 30)
  .addOption(new Option('--api-version <version>', 'version of the CRM\'s API').choices(['v6', 'v7', 'v8']).default('v8'))
  .option('--json', 'print the result as JSON on standard output', false)
  .option('--keep', 'keep data and logs', false);

/** Faults begin in the first load, so that is made long by small pages; and few deletions, for the breaker counts them. */
const stormDefaults = { leads: 5_000, deals: 500, products: 500, deletesPerSecond: 1, pageSize: 500 };

type Given = {
  leads: number;
  deals: number;
  products: number;
  editsPerSecond: number;
  createsPerSecond: number;
  deletesPerSecond: number;
  liveSeconds: number;
  pageSize: number;
  seed: number;
  faults: 'none' | 'storm' | 'permanent';
  stormSeconds: number;
  faultSeconds: number;
  apiVersion: 'v6' | 'v7' | 'v8';
  json: boolean;
  keep: boolean;
};

program.parse();
const kind = program.opts<Given>().faults;
const isStorm = kind === 'storm';
const isPermanent = kind === 'permanent';
if (kind !== 'none') for (const [name, value] of Object.entries(stormDefaults)) if (program.getOptionValueSource(name) === 'default') program.setOptionValueWithSource(name, value, 'default');
const given = program.opts<Given>();
const dataDir = await mkdtemp(join(checkoutDir, '.lockstep-demo-'));
// Root runs Postgres as another user, who has to get in.
await chmod(dataDir, 0o755);
const out = given.json ? process.stderr : process.stdout;
const line = liveLine(out);
// A terminal that was closed takes no more words; everything is ended in order all the same.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
const stopping = new AbortController();
// Ctrl-C may come twice: from the terminal, and passed on by the process that started this.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stopping.abort(new Error(`stopped by ${signal}`)));

let lockstep: Lockstep | undefined;
let storming: Promise<readonly string[]> | undefined;
let before: Snapshot = new Map();
try {
  out.write(`Lockstep demo: ${given.leads} Leads, ${given.deals} Deals, ${given.products} Products; ${given.editsPerSecond} edits/s; API ${given.apiVersion}${isStorm ? `; a storm of ${given.stormSeconds} s, seed ${given.seed}` : isPermanent ? `; ten permanent faults, seed ${given.seed}` : ''}\n`);
  if (kind !== 'none') out.write(`${stormNotice}\n`);
  let startedMs = performance.now();
  lockstep = await startLockstep({
    dataDir,
    isolated: true,
    apiVersion: given.apiVersion,
    simulator: simulatorArguments(given),
    env: kind === 'none' ? {} : stormEnvironment,
    log: (text) => out.write(`${text}\n`),
    beforeApps: async ({ databaseUrl, simulator }) => {
      await plantForeign({ databaseUrl, simulatorUrl: simulator?.url ?? '' });
      before = await takeSnapshot(databaseUrl);
      startedMs = performance.now();
    },
  });
  const aborted = new Promise<never>((_, reject) => {
    stopping.signal.addEventListener('abort', () => reject(stopping.signal.reason as Error));
  });
  const broken = lockstep.broken.then((what) => Promise.reject(new Error(what)));
  storming = isStorm ? storm(lockstep) : undefined;
  const problems = await Promise.race([storming ?? (isPermanent ? permanent(lockstep) : demo(lockstep, startedMs)), aborted, broken]);
  for (const problem of problems) process.stderr.write(`  FAILED                   ${problem}\n`);
  process.exitCode = problems.length === 0 ? 0 : 1;
} catch (error) {
  line.done();
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
} finally {
  // A storm starts again what it has killed: what came up while everything is ended would be left behind.
  const isInterrupted = stopping.signal.aborted;
  stopping.abort();
  await storming?.catch(() => undefined);
  await lockstep?.stop();
  if (process.exitCode !== 0 && isStorm && !isInterrupted) process.stderr.write(`To repeat it: ${repeated(given)}\n`);
  if (!given.keep) {
    await removeStackData(join(dataDir, 'stack'));
    await rm(dataDir, { recursive: true, force: true });
  } else out.write(`data and logs: ${dataDir}\n`);
}
process.exit();

/** @returns what is not as it has to be. */
async function demo(running: Lockstep, startedMs: number): Promise<readonly string[]> {
  const result = await runDemo(running, { ...given, before, onStatus: (status) => line.show(statusLine(status)) }, startedMs);
  line.done();
  process.stdout.write(given.json ? `${JSON.stringify({ ...given, ...result }, null, 2)}\n` : resultText(result));
  return problemsOfDemo(result);
}

/** What is noted while it runs, with its time. */
function sayer(): (text: string) => void {
  const began = performance.now();
  return (text) => void out.write(`  ${((performance.now() - began) / 1000).toFixed(1).padStart(5)} s  ${text}\n`);
}

/** @returns what cost more than what it touched, or was not healed. */
async function permanent(running: Lockstep): Promise<readonly string[]> {
  const result = await runPermanent(running, { ...given, before, seconds: given.faultSeconds, say: sayer() });
  process.stdout.write(given.json ? `${JSON.stringify({ ...given, ...result }, null, 2)}\n` : permanentText(result));
  return problemsOfPermanent(result);
}

/** @returns what is not as it has to be, or what freshness claimed and was not so. */
async function storm(running: Lockstep): Promise<readonly string[]> {
  const result = await runStorm(running, { ...given, before, seconds: given.stormSeconds, say: sayer(), signal: stopping.signal });
  process.stdout.write(given.json ? `${JSON.stringify({ ...given, ...result }, null, 2)}\n` : stormText(result));
  return problemsOfStorm(result);
}

function repeated({ leads, deals, products, editsPerSecond, createsPerSecond, deletesPerSecond, pageSize, seed, stormSeconds, apiVersion }: Given): string {
  const values = { seed, leads, deals, products, 'edits-per-second': editsPerSecond, 'creates-per-second': createsPerSecond, 'deletes-per-second': deletesPerSecond, 'page-size': pageSize, 'storm-seconds': stormSeconds, 'api-version': apiVersion };
  return `npm run demo -- --faults storm ${Object.entries(values).map(([name, value]) => `--${name} ${value}`).join(' ')} --keep`;
}

function simulatorArguments({ leads, deals, products, pageSize, seed, editsPerSecond, createsPerSecond, deletesPerSecond }: Given): string[] {
  // Faults have their own traffic, and many pages.
  const traffic = kind !== 'none' ? { 'job-delay-ms': 1000, 'downloads-per-minute': 0 } : { 'edits-per-second': editsPerSecond, 'creates-per-second': createsPerSecond, 'deletes-per-second': deletesPerSecond };
  const values = { leads, deals, products, 'page-size': pageSize, seed, ...traffic };
  return Object.entries(values).flatMap(([name, value]) => [`--${name}`, String(value)]);
}
