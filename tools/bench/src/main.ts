import { cpus, totalmem } from 'node:os';

import { Command, InvalidArgumentError, Option } from 'commander';

import { runApply } from './apply.ts';
import { runBeside } from './beside.ts';
import { runConsumers } from './consumer.ts';
import { withFolder } from './fixture.ts';
import { runHistory } from './history.ts';
import { runLive } from './live.ts';
import { median } from './measure.ts';
import { runMemory } from './memory.ts';
import { type PageRun, runPage } from './page.ts';
import { runProjector } from './projector.ts';
import { runVerify } from './verify.ts';
import { stopAll } from './with-lockstep.ts';

/* npm run bench: measures the whole path on this machine, medians with the floor beside them. A result counts only at 0 mismatches. */

const parts = ['page', 'projector', 'live', 'memory', 'verify', 'beside', 'apply', 'history', 'consumer'] as const;
type Part = (typeof parts)[number];

function whole(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('a whole number, 1 or more');
  return value;
}

type Given = { runs: number; rows: number; only: Part[]; memoryRows: number; historyMessages: number; liveSeconds: number };
const given = new Command('npm run bench --')
  .description('Measures Lockstep on this machine. Exit code 1 when a result is wrong or an error stopped it.')
  .option('--runs <number>', 'runs of page, projector and consumer', whole, 5)
  .option('--rows <number>', 'rows of the page, of the table that is read while edits go on, and of what consumers read', whole, 200_000)
  .option('--memory-rows <number>', 'rows of the larger first load, of verify, and of apply', whole, 1_000_000)
  .option('--history-messages <number>', 'messages of the topic that a history is read from', whole, 2_000_000)
  .option('--live-seconds <number>', 'how long each live measurement goes on', whole, 30)
  .addOption(new Option('--only <parts...>', 'these parts only').choices(parts).default([...parts]))
  .parse()
  .opts<Given>();

const say = (line: string): void => void process.stdout.write(`${line}\n`);
const rate = (rows: number, seconds: number): string => `${Math.round(rows / seconds).toLocaleString('en-US')} rows/s`;
const list = (values: readonly number[], digits = 1): string => values.map((value) => value.toFixed(digits)).join(', ');
let mismatches = 0;
let isBrokenOff = false;

const measurements: Record<Part, (folder: string) => Promise<void>> = {
  page: async (folder) => {
    const runs: PageRun[] = [];
    for (let run = 0; run < given.runs; run += 1) runs.push(await runPage(folder, given.rows));
    mismatches += runs.reduce((sum, one) => sum + one.mismatches, 0);
    const seconds = runs.map((one) => one.seconds);
    const floors = runs.map((one) => one.floorSeconds);
    say(`\nA page of ${given.rows.toLocaleString('en-US')} Leads, from ZIP on disk to the last committed row, ${given.runs} runs`);
    say(`  Lockstep    ${median(seconds).toFixed(1)} s, ${rate(given.rows, median(seconds))}      (${list(seconds)})`);
    say(`  floor       ${median(floors).toFixed(1)} s, ${rate(given.rows, median(floors))}      (${list(floors)})   zip, csv-parse, COPY and guarded merge`);
    say(`  download    ${median(runs.map((one) => one.downloadSeconds)).toFixed(1)} s, which comes before`);
    say(`  ratio       ${(median(seconds) / median(floors)).toFixed(2)}`);
    for (const stage of Object.keys(runs[0]?.stages ?? {})) say(`  ${stage.padEnd(34)} ${rate(given.rows, median(runs.map((one) => one.stages[stage] ?? 0)))}`);
    say(`  peak RSS    ${Object.keys(runs[0]?.rssMb ?? {}).map((app) => `${app} ${median(runs.map((one) => one.rssMb[app] ?? 0))} MB`).join(', ')}`);
  },
  projector: async (folder) => {
    const runs = await runProjector(folder, given.rows, given.runs);
    mismatches += runs.reduce((sum, one) => sum + one.mismatches, 0);
    say(`\nThe projector alone, its topic full, records a second, ${given.runs} runs, clock from the first fetch`);
    for (const pass of ['first', 'newer', 'stale'] as const) say(`  ${pass.padEnd(10)}  ${median(runs.map((one) => one[pass])).toLocaleString('en-US')}      (${runs.map((one) => one[pass].toLocaleString('en-US')).join('; ')})`);
  },
  live: async (folder) => {
    const live = await runLive(folder, { editsPerSecond: 200, notificationsPerSecond: 500, seconds: given.liveSeconds });
    mismatches += live.mismatches + live.notificationToRow.missing + live.acknowledgement.failed;
    say(`\nLive, ${given.liveSeconds} s each`);
    say(`  notification → row at ${live.editsPerSecond} edits/s     p50 ${live.notificationToRow.p50Ms} ms, p99 ${live.notificationToRow.p99Ms} ms, max ${live.notificationToRow.maxMs} ms (${live.notificationToRow.count} edits, ${live.notificationToRow.missing} missing)`);
    say(`  acknowledgement at ${live.notificationsPerSecond}/s           p50 ${live.acknowledgement.p50Ms} ms, p99 ${live.acknowledgement.p99Ms} ms (${live.acknowledgement.count} notifications, ${live.acknowledgement.failed} failed)`);
  },
  memory: async (folder) => {
    say('\nPeak resident set over a first load');
    for (const rows of [given.rows, given.memoryRows]) {
      const memory = await runMemory(folder, rows);
      mismatches += memory.mismatches;
      say(`  ${rows.toLocaleString('en-US').padStart(10)} rows   ${Object.entries(memory.rssMb).map(([app, mb]) => `${app} ${mb} MB`).join(', ')}   (${memory.seconds} s in all)`);
    }
  },
  verify: async (folder) => {
    const { rows, verify, rebuild, floor } = await runVerify(folder, given.memoryRows);
    mismatches += verify.differences + rebuild.differences;
    say(`\nThe log beside the table, ${rows.toLocaleString('en-US')} Leads, every fifth with two versions`);
    say(`  verify      ${verify.seconds.toFixed(1)} s, peak RSS ${verify.rssMb} MB`);
    say(`  rebuild     ${rebuild.seconds.toFixed(1)} s into an empty database, its proof included, peak RSS ${rebuild.rssMb} MB`);
    say(`  floor       ${floor.seconds.toFixed(1)} s, COPY of the table into an unlogged one`);
  },
  beside: async (folder) => {
    const { rows, written, editsPerSecond, latencies, mismatches: found } = await runBeside(folder, given.rows, given.liveSeconds);
    mismatches += found;
    say(`\nNotification → row at ${editsPerSecond} edits/s, ${rows.toLocaleString('en-US')} Leads, ${given.liveSeconds} s or more each`);
    for (const [what, { p50Ms, p99Ms, maxMs, count, missing }] of Object.entries(latencies)) say(`  ${what.padEnd(10)}  p50 ${p50Ms} ms, p99 ${p99Ms} ms, max ${maxMs} ms (${count} edits, ${missing} missing)`);
    say(`  each rebuild writes back ${written.toLocaleString('en-US')} rows`);
  },
  apply: async (folder) => {
    const { rows, plan, apply, floor } = await runApply(folder, given.memoryRows);
    mismatches += apply.differences + Math.abs(rows - apply.rows) + Math.abs(rows - plan.rows);
    say(`\nA column that was logged and is mapped now, ${rows.toLocaleString('en-US')} Leads, every fifth with two versions`);
    say(`  plan        ${plan.seconds.toFixed(1)} s, peak RSS ${plan.rssMb} MB`);
    say(`  apply       ${apply.seconds.toFixed(1)} s until the column is filled, ${apply.provenSeconds.toFixed(1)} s with its proof, peak RSS ${apply.rssMb} MB`);
    say(`  floor       ${floor.seconds.toFixed(1)} s, one UPDATE of a column of all rows`);
  },
  history: async (folder) => {
    const { messages, whole: of, indexSeconds, indexed, missing } = await runHistory(folder, { rows: given.rows, messages: given.historyMessages });
    mismatches += missing;
    say(`\nWhy one row is so, a topic of ${messages.toLocaleString('en-US')} messages`);
    say(`  by the index      ${median(indexed).toFixed(2)} s      (${list(indexed, 2)})`);
    say(`  whole partition   ${median(of).toFixed(2)} s      (${list(of, 2)})`);
    say(`  making the index  ${indexSeconds.toFixed(1)} s at full speed`);
  },
  consumer: async (folder) => {
    const { messages, runs } = await runConsumers(folder, given.rows, given.runs);
    mismatches += runs.reduce((sum, { newest, history }) => sum + newest.mismatches + history.mismatches, 0);
    say(`\nConsumers that begin with a full topic, records a second, ${messages.toLocaleString('en-US')} messages, ${given.runs} runs, clock from the first fetch`);
    for (const [name, what] of [['newest', 'the newest content of each record, in a second database'], ['history', 'apps/history, in a second database']] as const) {
      const rates = runs.map((one) => Math.round(one[name].rate));
      say(`  ${name.padEnd(10)}  ${median(rates).toLocaleString('en-US')}      (${rates.map((rate) => rate.toLocaleString('en-US')).join('; ')})   ${what}, ${(runs[0]?.[name].rows ?? 0).toLocaleString('en-US')} rows, peak RSS ${median(runs.map((one) => one[name].rssMb))} MB`);
    }
  },
};

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    if (isBrokenOff) return;
    isBrokenOff = true;
    // The measurement under way fails as its stack goes; its folder is removed with it.
    void stopAll();
  });
}

say(`${new Date().toISOString().slice(0, 10)}, ${cpus().length} × ${cpus()[0]?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GB, Node ${process.versions.node}; stack, simulator and apps on this machine`);
try {
  for (const part of given.only) await withFolder(measurements[part]);
  say(`\nmismatches ${mismatches}`);
  process.exitCode = mismatches === 0 ? 0 : 1;
} catch (error) {
  process.stderr.write(isBrokenOff ? 'broken off\n' : `${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  process.exitCode = 1;
}
process.exit();
