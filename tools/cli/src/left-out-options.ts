import type { Database } from '@lockstep/postgres';
import type { Command } from 'commander';

import { numbers, whole } from './arguments.ts';
import { onDatabase } from './on-database.ts';
import { asJson, print } from './output.ts';
import { environment } from './run-file.ts';
import { knownModule } from './verify.ts';

/* What the commands about things that were left out have in common: `parked …` and `dead-letters …`. */

export type Listing = { readonly module?: string; readonly all: boolean; readonly limit: number; readonly json: boolean };

/** The options of `list`. */
export const listOptions = (command: Command): Command =>
  command
    .option('--module <name>', 'only those of a module, e.g. Leads')
    .option('--all', 'those that are over as well', false)
    .option('--limit <number>', 'how many at most', whole, 100)
    .option(...asJson);

/** The same, as the stores take them. */
export const wantedOf = ({ module, all, limit }: Listing) => ({ ...(module === undefined ? {} : { module: knownModule(module).apiName }), all, limit });

/** Works on the database that `DATABASE_URL` or the running local set-up names. */
export const inDatabase = async <T>(work: (db: Database) => Promise<T>): Promise<T> => await onDatabase(await environment('DATABASE_URL'), work);

/** Adds `discard`. @param discard gives up those of these numbers that are open. */
export function addDiscard(parent: Command, { list, description, discard }: { readonly list: string; readonly description: string; readonly discard: (db: Database, ids: readonly string[], because: string) => Promise<string[]> }): void {
  parent
    .command('discard')
    .description(description)
    .argument('<id...>', `their numbers, from "${list}"`, numbers)
    .requiredOption('--reason <text>', 'why, for those who look later')
    .option(...asJson)
    .action(async (ids: readonly string[], { reason, json }: { reason: string; json: boolean }) => {
      const discarded = await inDatabase((db) => discard(db, ids, reason));
      print(json, { discarded }, () => `${discarded.length} of ${ids.length} were open, and are given up\n`);
      if (discarded.length < ids.length) process.exitCode = 1;
    });
}
