import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';

import { checkoutDir, startLockstep } from '@lockstep/harness';
import { Command, InvalidArgumentError, Option } from 'commander';

import { liveLine } from './live-line.ts';
import { runDemo } from './run-demo.ts';
import { resultText, statusLine } from './text.ts';

/*
 * One shot, with a stack of its own in a folder that is removed afterwards: the first load of three modules while the CRM
 * changes, and the comparison of every value. Exit code 0: no mismatch; 1: mismatches, or it could not be run.
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
  .addOption(new Option('--api-version <version>', 'version of the CRM\'s API').choices(['v6', 'v7', 'v8']).default('v8'))
  .option('--json', 'print the result as JSON on standard output', false)
  .option('--keep', 'keep data and logs', false);

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
  apiVersion: 'v6' | 'v7' | 'v8';
  json: boolean;
  keep: boolean;
};

const given = program.parse().opts<Given>();
const dataDir = await mkdtemp(join(checkoutDir, '.lockstep-demo-'));
const out = given.json ? process.stderr : process.stdout;
const line = liveLine(out);
// A terminal that was closed takes no more words; everything is ended in order all the same.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
const stopping = new AbortController();
// Ctrl-C may come twice: from the terminal, and handed on by whoever started this.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stopping.abort(new Error(`stopped by ${signal}`)));

let lockstep: Awaited<ReturnType<typeof startLockstep>> | undefined;
try {
  out.write(`Lockstep demo: ${given.leads} Leads, ${given.deals} Deals, ${given.products} Products; ${given.editsPerSecond} edits/s; API ${given.apiVersion}\n`);
  let startedMs = performance.now();
  lockstep = await startLockstep({
    dataDir,
    isolated: true,
    apiVersion: given.apiVersion,
    simulator: simulatorArguments(given),
    log: (text) => out.write(`${text}\n`),
    onSimulator: () => {
      startedMs = performance.now();
    },
  });
  const aborted = new Promise<never>((_, reject) => {
    stopping.signal.addEventListener('abort', () => reject(stopping.signal.reason as Error));
  });
  const broken = lockstep.broken.then((what) => Promise.reject(new Error(what)));
  const result = await Promise.race([runDemo(lockstep, { ...given, onStatus: (status) => line.show(statusLine(status)) }, startedMs), aborted, broken]);
  line.done();
  process.stdout.write(given.json ? `${JSON.stringify({ ...given, ...result }, null, 2)}\n` : resultText(result));
  process.exitCode = result.mismatches === 0 && result.notificationToRow.missing === 0 ? 0 : 1;
} catch (error) {
  line.done();
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
} finally {
  await lockstep?.stop();
  if (!given.keep) await rm(dataDir, { recursive: true, force: true });
  else out.write(`data and logs: ${dataDir}\n`);
}
process.exit();

function simulatorArguments({ leads, deals, products, pageSize, seed, editsPerSecond, createsPerSecond, deletesPerSecond }: Given): string[] {
  const values = { leads, deals, products, 'page-size': pageSize, seed, 'edits-per-second': editsPerSecond, 'creates-per-second': createsPerSecond, 'deletes-per-second': deletesPerSecond };
  return Object.entries(values).flatMap(([name, value]) => [`--${name}`, String(value)]);
}
