import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';

import { Command, InvalidArgumentError } from 'commander';

import { runCreditTable } from './credits/run-credit-table.ts';
import { neverMet, printed, sumOf } from './faults.ts';
import { runStanding } from './standing/run-standing.ts';
import type { Outcome } from './worker.ts';

/* npm run simulate: lives the worlds of many seeds. Exit codes: 0 every one ended right, 1 some did not, 2 wrong arguments. */

function whole(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0) throw new InvalidArgumentError('a whole number, 0 or more');
  return value;
}

type Given = { seeds: number; from: number; seed?: number; workers: number; standing?: true; only: string; json?: true; credits?: true };
const given = new Command('npm run simulate --')
  .description('Runs planner, reader, fold and a CRM full of faults under virtual time, one world a seed, and checks that freshness never lies and that the tables equal the CRM in the end.')
  .option('--seeds <number>', 'how many seeds', whole, 200)
  .option('--from <number>', 'the first of them', whole, 1)
  .option('--seed <number>', 'this seed alone', whole)
  .option('--workers <number>', 'threads', whole, availableParallelism())
  .option('--standing', 'every fault that stands, in each module and phase, instead of seeds; --seed gives another course')
  .option('--only <text>', 'of those, the ones whose name has this', '')
  .option('--json', 'one line of JSON')
  .option('--credits', 'instead: a day for each pace of edits and each number of credits, and how late changes arrive')
  .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2))
  .parse()
  .opts<Given>();

if (given.standing === true) {
  const failed = await runStanding(given.seed ?? 1, (line) => void process.stdout.write(`${line}\n`), given.only);
  process.stdout.write(failed.length === 0 ? 'every one ended right\n' : `${failed.length} failed\n`);
  process.exit(failed.length === 0 ? 0 : 1);
}

const seeds = given.seed === undefined ? Array.from({ length: given.seeds }, (_, i) => given.from + i) : [given.seed];
const started = performance.now();
const outcomes: Outcome[] = [];
const say = (line: string): void => void (given.json === true ? undefined : process.stdout.write(`${line}\n`));

const lived = (mine: readonly number[]): Promise<void> =>
  new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./worker.ts', import.meta.url), { workerData: { seeds: mine } });
    worker.on('message', (outcome: Outcome) => {
      outcomes.push(outcome);
      if (outcome.problem !== null) say(`seed ${outcome.seed}: ${outcome.problem}\n  again: npm run simulate -- --seed ${outcome.seed}`);
      else if (outcomes.length % 100 === 0) say(`${outcomes.length} of ${seeds.length} seeds`);
    });
    worker.once('error', reject);
    worker.once('exit', () => resolve());
  });

if (given.credits === true) {
  const faults = await runCreditTable({ seed: given.seed ?? 1, workers: given.workers, say });
  for (const fault of faults) process.stderr.write(`${fault}\n`);
  process.exit(faults.length === 0 ? 0 : 1);
}

/** So many seeds meet every fault, if each is still there to be met. */
const ALL_MET_FROM = 1_000;

const workers = Math.max(1, Math.min(given.workers, seeds.length));
await Promise.all(Array.from({ length: workers }, (_, n) => lived(seeds.filter((_seed, i) => i % workers === n))));

const ended = outcomes.flatMap(({ simulated }) => (simulated === null ? [] : [simulated]));
const sum = (key: 'changes' | 'calls' | 'failedCalls' | 'dropped' | 'deaths' | 'checks' | 'virtualMinutes'): number => ended.reduce((total, one) => total + one[key], 0);
const met = sumOf(ended.map((one) => one.met));
const missing = seeds.length < ALL_MET_FROM ? [] : neverMet(met);
const report = {
  seeds: seeds.length,
  failed: outcomes.filter(({ problem }) => problem !== null).map(({ seed }) => seed),
  seconds: Math.round((performance.now() - started) / 100) / 10,
  virtualHours: Math.round(sum('virtualMinutes') / 60),
  changes: sum('changes'),
  notificationsDropped: sum('dropped'),
  crmCalls: sum('calls'),
  crmCallsFailed: sum('failedCalls'),
  deaths: sum('deaths'),
  claimsChecked: sum('checks'),
  met,
  neverMet: missing,
};
if (given.json === true) process.stdout.write(`${JSON.stringify(report)}\n`);
else {
  say(`${report.seeds} seeds in ${report.seconds} s: ${report.virtualHours} virtual hours, ${report.changes} changes, ${report.notificationsDropped} notifications dropped, ${report.crmCallsFailed} of ${report.crmCalls} calls failed, ${report.deaths} deaths, ${report.claimsChecked} claims checked`);
  say(`\nhow often each fault was met, and in which phase:\n${printed(met)}\n`);
  if (missing.length > 0) say(`never met, so that nothing is proved about it: ${missing.join(', ')}`);
  say(report.failed.length === 0 ? 'every one ended right' : `${report.failed.length} failed: ${report.failed.join(', ')}`);
}
process.exitCode = outcomes.length === seeds.length && report.failed.length === 0 && missing.length === 0 ? 0 : 1;
