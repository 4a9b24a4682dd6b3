import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { certifyModule, explainRecord, rebuildModule, verifyModule } from '@lockstep/rebuild';
import { Command } from 'commander';

import { instant, recordId, whole } from './arguments.ts';
import { addCompletion } from './completion.ts';
import { editRecord } from './crm-edit.ts';
import { unreachableText, UsageError } from './errors.ts';
import { explanationText, historyText } from './history.ts';
import { fetchIncidents, incidentsText } from './incidents.ts';
import { addMappingCommands } from './mapping-commands.ts';
import { asJson, exitCodes, print } from './output.ts';
import { addLetterCommands } from './letter-commands.ts';
import { addParkedCommands } from './parked-commands.ts';
import { addPauseCommands } from './pause-commands.ts';
import { addRecordCommands } from './record-commands.ts';
import { differingColumns } from './record-diff.ts';
import { replayConsumer, replayedText, replayFrom } from './replay.ts';
import { environment, readRun } from './run-file.ts';
import { fetchStatus, projectorProblem, refreshModule, releaseDeletions, statusText } from './status.ts';
import { knownModule, mappedNames, onModule, progress, rebuiltText, verificationText } from './verify.ts';

/* The command line; see `exitCodes`. */

const program = new Command('lockstep')
  .description('Looks at, and tries, a running Lockstep.')
  .addHelpText('after', exitCodes)
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : 2));

program
  .command('status')
  .description('how far each module is')
  .option('--json', 'as JSON', false)
  .action(async ({ json }: { json: boolean }) => {
    const named = process.env['LOCKSTEP_SCHEDULER_URL'];
    const urls = named === undefined ? await readRun() : { scheduler: named, projector: process.env['LOCKSTEP_PROJECTOR_URL'] };
    const [status, projector] = await Promise.all([fetchStatus(urls.scheduler), projectorProblem(urls.projector)]);
    print(json, { ...status, projectorProblem: projector }, () => statusText(status, projector));
    if (projector !== null || status.modules.some(({ problem, state }) => problem !== null || state === 'failed')) process.exitCode = 3;
  });

program
  .command('incidents')
  .description('what people ought to know of: lost channels, late catch-ups, held deletions, and the like')
  .option('--all', 'those that are over as well', false)
  .option('--json', 'as JSON', false)
  .action(async ({ all, json }: { all: boolean; json: boolean }) => {
    const url = process.env['LOCKSTEP_SCHEDULER_URL'] ?? (await readRun()).scheduler;
    const incidents = await fetchIncidents(url, { all });
    process.stdout.write(json ? `${JSON.stringify(incidents, null, 2)}\n` : incidentsText(incidents));
  });

program
  .command('refresh')
  .description('reads a whole module again, for what changes without a new modified time, e.g. lockstep refresh Leads')
  .argument('<module>', 'API name, e.g. Leads')
  .option('--anyway', 'even if that touches the credits that are left to others', false)
  .option(...asJson)
  .action(async (module: string, { anyway, json }: { anyway: boolean; json: boolean }) => {
    const url = process.env['LOCKSTEP_SCHEDULER_URL'] ?? (await readRun()).scheduler;
    const plan = await refreshModule(url, module, { isAnyway: anyway });
    print(json, { module, plan }, () => `${module}: reading all of it again: ${plan}; "lockstep status" shows how far it is\n`);
  });

program
  .command('release')
  .description('lets held deletions of a module pass for an hour, after a person has looked, e.g. lockstep release Leads')
  .argument('<module>', 'API name, e.g. Leads')
  .option(...asJson)
  .action(async (module: string, { json }: { json: boolean }) => {
    const url = process.env['LOCKSTEP_SCHEDULER_URL'] ?? (await readRun()).scheduler;
    await releaseDeletions(url, module);
    print(json, { module, isReleased: true }, () => `${module}: deletions pass for an hour\n`);
  });

program
  .command('simulator')
  .description('the CRM simulator alone; "lockstep simulator --help" lists its options')
  .allowUnknownOption()
  .helpOption(false)
  .argument('[options...]')
  .action(async (options: string[]) => {
    process.exitCode = await runSimulator(options);
  });

program
  .command('crm')
  .description('acts in the CRM')
  .command('edit')
  .description('sets fields of a record, e.g. lockstep crm edit Leads 5725700000000001 Company="Ada & Sons"')
  .argument('<module>', 'API name, e.g. Leads')
  .argument('<id>', 'record id')
  .argument('<Field=value...>', 'fields to set; an empty value clears')
  .option(...asJson)
  .action(async (module: string, id: string, assignments: string[], { json }: { json: boolean }) => {
    const env = process.env['CRM_CLIENT_ID'] === undefined ? { ...process.env, ...(await readRun()).crm } : process.env;
    const fields = await editRecord(env, module, id, assignments);
    print(json, { module, id, fields }, () => `${module} ${id}: ${Object.entries(fields).map(([name, value]) => `${name} = ${JSON.stringify(value)}`).join(', ')}\n`);
  });

const checking = { limit: ['--limit <number>', 'how many differences of each kind are named; all are counted', whole, 20] } as const;

program
  .command('verify')
  .description('compares register and table with the log, and names what differs, e.g. lockstep verify leads; writes nothing')
  .argument('<module>', 'API name, e.g. Leads')
  .option('--certificate', 'prints a certificate instead, as JSON: rows, digest, offsets, and up to when the CRM was read', false)
  .option(...asJson)
  .option(...checking.limit)
  .action(async (module: string, { json, limit, certificate }: { json: boolean; limit: number; certificate: boolean }) => {
    if (certificate) {
      const certified = await onModule(await environment('KAFKA_BROKERS', 'DATABASE_URL'), module, { mayCreate: false }, (deps, projection) => certifyModule(deps, projection, { onProgress: progress('folding') }));
      process.stdout.write(`${JSON.stringify(certified, null, 2)}\n`);
      return;
    }
    const verification = await onModule(await environment('KAFKA_BROKERS', 'DATABASE_URL'), module, { mayCreate: false }, (deps, projection) => verifyModule(deps, projection, { atMost: limit, onProgress: progress('folding') }));
    process.stdout.write(json ? `${JSON.stringify(verification, null, 2)}\n` : verificationText(verification));
    if (Object.keys(verification.counts).length > 0) process.exitCode = 1;
  });

program
  .command('rebuild')
  .description('makes register and table what the log says, in place: writes what differs, or everything into an empty database, without a call to the CRM')
  .argument('[modules...]', 'API names, e.g. Leads Deals; without one, those of LOCKSTEP_MODULES, or all that are mapped')
  .option('--dry-run', 'only names what differs, as verify does', false)
  .option('--remove-unknown', 'removes rows that the log says nothing of, too; another application may have made them', false)
  .option(...asJson)
  .option(...checking.limit)
  .action(async (names: string[], { dryRun, removeUnknown, json, limit }: { dryRun: boolean; removeUnknown: boolean; json: boolean; limit: number }) => {
    const options = { atMost: limit, onProgress: progress('folding') };
    const rebuilt = [];
    const chosen = (names.length === 0 ? mappedNames(process.env) : names).map((name) => knownModule(name).apiName);
    for (const name of chosen) {
      const one = await onModule(await environment('KAFKA_BROKERS', 'DATABASE_URL'), name, { mayCreate: !dryRun }, async (deps, projection) =>
        dryRun ? { after: await verifyModule(deps, projection, options) } : await rebuildModule(deps, projection, { ...options, isUnknownRemoved: removeUnknown }));
      if (!json) process.stdout.write('before' in one ? rebuiltText(one) : verificationText(one.after));
      if (Object.keys(one.after.counts).length > 0) process.exitCode = 1;
      rebuilt.push(one);
    }
    if (json) process.stdout.write(`${JSON.stringify(names.length === 1 ? rebuilt[0] : rebuilt, null, 2)}\n`);
  });

program
  .command('history')
  .description('everything the log holds of one record, and what the fold made of it, e.g. lockstep history Leads 5725700000000001')
  .argument('<module>', 'API name, e.g. Leads')
  .argument('<id>', 'record id', recordId)
  .option('--as-of <time>', 'only what was in the log by then, e.g. 2026-03-02T10:05:00Z', instant)
  .option(...asJson)
  .action(async (module: string, id: string, { asOf, json }: { asOf?: number; json: boolean }) => {
    const { history, notYetApplied } = await onModule(await environment('KAFKA_BROKERS', 'DATABASE_URL'), module, { mayCreate: false }, (deps, projection) => explainRecord(deps, projection, id));
    const shown = asOf === undefined ? history : history.filter(({ appendedMs }) => appendedMs <= asOf);
    process.stdout.write(json ? `${JSON.stringify(shown, null, 2)}\n` : historyText(module, id, shown, asOf === undefined ? { notYetApplied } : { asOf }));
    if (shown.length === 0) process.exitCode = 1;
  });

program
  .command('explain')
  .description('why a row is as it is: each column with the message its value came from, and what is parked, hidden, in doubt or waiting')
  .argument('<module>', 'API name, e.g. Leads')
  .argument('<id>', 'record id', recordId)
  .option(...asJson)
  .action(async (module: string, id: string, { json }: { json: boolean }) => {
    const { explanation, differing } = await onModule(await environment('KAFKA_BROKERS', 'DATABASE_URL'), module, { mayCreate: false }, async (deps, projection) => {
      const explained = await explainRecord(deps, projection, id);
      return { explanation: explained, differing: await differingColumns(deps, projection, explained) };
    });
    print(json, explanation, () => explanationText(explanation, differing));
    if (explanation.history.length === 0) process.exitCode = 1;
  });

program
  .command('replay')
  .description('hands the log over to a consumer again, once it is stopped, e.g. lockstep replay deals-won --from beginning')
  .argument('<consumer>', 'its name, e.g. deals-won')
  .requiredOption('--from <place>', 'beginning, an offset (1200), offsets of partitions (0/1200,3/17), or a time of appending (2026-03-02T10:05:00Z)')
  .option(...asJson)
  .action(async (consumer: string, { from, json }: { from: string; json: boolean }) => {
    const replayed = await replayConsumer(await environment('KAFKA_BROKERS', 'DATABASE_URL'), consumer, replayFrom(from));
    print(json, replayed, () => replayedText(consumer, replayed));
  });

addMappingCommands(program);
addRecordCommands(program);
addParkedCommands(program);
addLetterCommands(program);
addPauseCommands(program);
addCompletion(program);

try {
  await program.parseAsync();
} catch (error) {
  const unreachable = unreachableText(error);
  process.stderr.write(`${unreachable ?? (error instanceof Error ? error.message : String(error))}\n`);
  process.exitCode = error instanceof UsageError || unreachable !== null ? 2 : 1;
}

async function runSimulator(options: readonly string[]): Promise<number> {
  const main = fileURLToPath(import.meta.resolve('@lockstep/crm-simulator')).replace(/index\.ts$/, 'main.ts');
  const child = spawn(process.execPath, [main, ...options], { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal));
  return await new Promise((resolve) => {
    child.once('exit', (code) => resolve(code ?? 1));
  });
}
