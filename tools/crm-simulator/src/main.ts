import { Command, InvalidArgumentError, Option } from 'commander';

import { drivenClock, realClock } from './clock.ts';
import { parseInstant } from './instants.ts';
import { defaultOptions, type SimulatorOptions } from './options.ts';
import { startSimulator } from './simulator.ts';

const defaults = defaultOptions();

function whole(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0) throw new InvalidArgumentError('a whole number, 0 or more');
  return value;
}

function instant(text: string): number {
  const ms = parseInstant(text);
  if (ms === undefined) throw new InvalidArgumentError('an instant such as 2026-01-31T12:00:00Z');
  return ms;
}

const program = new Command('crm-simulator')
  .description('An HTTP server that is the CRM: v6, v7 and v8 side by side, with its own admin surface under /__simulator.')
  .option('--port <number>', 'port; 0 takes a free one', whole, defaults.port)
  .option('--host <name>', 'address to listen on', defaults.host)
  .option('--seed <number>', 'decides every record and every random choice', whole, defaults.seed)
  .option('--leads <number>', 'seeded Leads', whole, defaults.records.Leads ?? 0)
  .option('--deals <number>', 'seeded Deals', whole, defaults.records.Deals ?? 0)
  .option('--products <number>', 'seeded Products', whole, defaults.records.Products ?? 0)
  .option('--page-size <rows>', 'rows of a bulk read page', whole, defaults.pageSize)
  .option('--job-delay-ms <ms>', 'from a bulk job to its completion, without the writing', whole, defaults.jobDelayMs)
  .option('--downloads-per-minute <number>', '0 lifts the limit', whole, defaults.downloadsPerMinute)
  .option('--tokens-per-ten-minutes <number>', '0 lifts the limit', whole, defaults.tokensPerTenMinutes)
  .option('--calls-in-flight <number>', 'calls under way at a time; 0 lifts the limit', whole, defaults.callsInFlight)
  .option('--queries-in-flight <number>', 'COQL queries under way at a time; 0 lifts the limit', whole, defaults.queriesInFlight)
  .option('--credits <number>', 'API credits of 24 hours', whole, defaults.credits)
  .option('--edits-per-second <rate>', 'made-up traffic', whole, 0)
  .option('--creates-per-second <rate>', 'made-up traffic', whole, 0)
  .option('--deletes-per-second <rate>', 'made-up traffic', whole, 0)
  .option('--utc-offset <offset>', 'zone of the calling user', defaults.utcOffset)
  .option('--driven-clock <instant>', 'virtual time, which begins then (ISO 8601 with offset) and moves by POST /__simulator/clock', instant)
  .option('--spool-dir <folder>', 'where result files are written; a temporary folder by default')
  .addOption(new Option('--csv-id-header <name>', 'name of the id column').choices(['id', 'Id']).default(defaults.csvIdHeader))
  .addOption(new Option('--csv-multi-select-separator <sign>', 'between the values of a cell').choices([';', ',']).default(defaults.csvMultiSelectSeparator))
  .option('--rich-text-cut <characters>', 'what lists and queries show of a rich text; 0 shows all of it', whole, defaults.richTextCut)
  .option('--full-text-cut <characters>', 'the same of the call that shows it in full', whole, defaults.fullTextCut)
  .option('--uncovered <ends...>', 'ends of paths that the token\'s scopes do not cover, e.g. /settings/fields', [...defaults.uncovered])
  .option('--csv-bom', 'begin the CSV with a byte order mark', false)
  .option('--csv-crlf', 'end the lines of the CSV with CR LF', false);

type Given = Omit<SimulatorOptions, 'records' | 'traffic' | 'spoolDir' | 'clock'> & {
  leads: number;
  deals: number;
  products: number;
  editsPerSecond: number;
  createsPerSecond: number;
  deletesPerSecond: number;
  spoolDir?: string;
  drivenClock?: number;
};

const { leads, deals, products, editsPerSecond, createsPerSecond, deletesPerSecond, spoolDir = null, drivenClock: startMs, ...rest } = program.parse().opts<Given>();
const hasTraffic = editsPerSecond + createsPerSecond + deletesPerSecond > 0;
const simulator = await startSimulator({
  ...rest,
  spoolDir,
  clock: startMs === undefined ? realClock() : drivenClock(startMs),
  records: { Leads: leads, Deals: deals, Products: products },
  traffic: hasTraffic ? { editsPerSecond, createsPerSecond, deletesPerSecond, seed: rest.seed } : null,
});
process.stdout.write(`CRM simulator: ${simulator.url}\n`);

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void simulator.close());
