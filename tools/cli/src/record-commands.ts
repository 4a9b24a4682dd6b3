import { wantedLooks } from '@lockstep/postgres';
import { type Command } from 'commander';

import { instant, recordId, recordIds, seconds } from './arguments.ts';
import { onDatabase } from './on-database.ts';
import { asJson, print } from './output.ts';
import { diffText, recordDiff } from './record-diff.ts';
import { environment, readRun } from './run-file.ts';
import { knownModule, onModule } from './verify.ts';
import { waitFor } from './wait-for.ts';

/** `wait`, `resync` and `diff`: single records. */
export function addRecordCommands(program: Command): void {
  program
    .command('wait')
    .description('returns when a record stands with a modified time not before the given one, or is known as deleted since; exit code 1 when the time-out has passed, or it is parked for good')
    .argument('<module>', 'API name, e.g. Leads')
    .argument('<id>', 'record id', recordId)
    .requiredOption('--modified <time>', 'the Modified_Time that the CRM answered, e.g. 2026-03-02T10:05:00Z', instant)
    .option('--timeout <seconds>', 'how long', seconds, 30)
    .option(...asJson)
    .action(async (name: string, id: string, { modified, timeout, json }: { modified: number; timeout: number; json: boolean }) => {
      const { apiName } = knownModule(name);
      const state = await onDatabase(await environment('DATABASE_URL'), (db) => waitFor(db, { module: apiName, id, modifiedMs: modified, timeoutSeconds: timeout }));
      print(json, { module: apiName, id, ...state }, () => `${apiName} ${id}: ${state.state}${state.cause === null ? '' : `: ${state.cause}`}\n`);
      if (!state.isThere) process.exitCode = 1;
    });

  program
    .command('resync')
    .description('asks for a look at these records now; "lockstep history" shows what it brings')
    .argument('<module>', 'API name, e.g. Leads')
    .argument('<id...>', 'record ids', recordIds)
    .option(...asJson)
    .action(async (name: string, ids: string[], { json }: { json: boolean }) => {
      const { apiName } = knownModule(name);
      await onDatabase(await environment('DATABASE_URL'), (db) => wantedLooks(db).want(apiName, [...new Set(ids)], 'asked'));
      print(json, { module: apiName, ids: [...new Set(ids)] }, () => `${apiName}: a look at ${ids.length === 1 ? `${ids[0]} is` : `${ids.length} records is`} asked for; the scheduler hands it to the reader within a minute\n`);
    });

  program
    .command('diff')
    .description("a record's row beside what the log says, and beside the CRM where CRM_* is set or a simulator runs here, column by column; exit code 1 where they differ")
    .argument('<module>', 'API name, e.g. Leads')
    .argument('<id>', 'record id', recordId)
    .option(...asJson)
    .action(async (module: string, id: string, { json }: { json: boolean }) => {
      const env = await environment('KAFKA_BROKERS', 'DATABASE_URL');
      const crm = process.env['CRM_CLIENT_ID'] === undefined ? await readRun().then((run) => run.crm, () => ({})) : {};
      const diff = await onModule(env, module, { mayCreate: false }, (deps, projection) => recordDiff({ ...crm, ...env }, deps, projection, id));
      print(json, diff, () => diffText(diff));
      if (diff.isDifferent) process.exitCode = 1;
    });
}
