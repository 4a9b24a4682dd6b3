import { sqlState } from '@lockstep/postgres';
import { applyMapping, planMapping } from '@lockstep/rebuild';
import type { Command } from 'commander';

import { whole } from './arguments.ts';
import { UsageError } from './errors.ts';
import { appliedText, planText } from './mapping-text.ts';
import { asJson, print } from './output.ts';
import { environment } from './run-file.ts';
import { onModule, progress } from './verify.ts';

/** @throws {UsageError} where the database is of a build that noted nothing of mappings. */
function ofEarlierBuild(error: unknown): never {
  if (sqlState(error) !== '42703') throw error;
  throw new UsageError('The database is of an earlier build: start the apps of this build once, or "lockstep apply"');
}

/** `plan` and `apply`: what a changed definition does to a table. */
export function addMappingCommands(program: Command): void {
  program
    .command('plan')
    .description("what this build's definition of a module would do to its table, by the log; writes nothing, e.g. lockstep plan leads. Exit code 1 if anything would change")
    .argument('<module>', 'API name, e.g. Leads')
    .option(...asJson)
    .option('--limit <number>', 'how many rows, and contents that would not fit, are named; all are counted', whole, 20)
    .action(async (module: string, { json, limit }: { json: boolean; limit: number }) => {
      const plan = await onModule(await environment('KAFKA_BROKERS', 'DATABASE_URL'), module, { mayCreate: false }, (deps, projection) => planMapping(deps, projection, { atMost: limit, onProgress: progress('folding') })).catch(ofEarlierBuild);
      print(json, plan, () => planText(plan));
      if (plan.isChange || plan.faults.length + plan.missing.length > 0) process.exitCode = 1;
    });

  program
    .command('apply')
    .description("makes this build's definition the one that is written by, fills what differs from the log, in place, and verifies all of it; a projector of the former definition stops")
    .argument('<module>', 'API name, e.g. Leads')
    .option('--no-proof', 'without verifying all of the module afterwards')
    .option(...asJson)
    .option('--limit <number>', 'how many differences of each kind the proof names; all are counted', whole, 20)
    .action(async (module: string, { proof, json, limit }: { proof: boolean; json: boolean; limit: number }) => {
      const applied = await onModule(await environment('KAFKA_BROKERS', 'DATABASE_URL'), module, { mayCreate: true }, (deps, projection) => applyMapping(deps, projection, { isProven: proof, atMost: limit, onProgress: progress('folding') }));
      print(json, applied, () => appliedText(applied));
      if (!applied.isComplete || applied.unfit.length > 0 || Object.keys(applied.proof?.counts ?? {}).length > 0) process.exitCode = 1;
    });
}
