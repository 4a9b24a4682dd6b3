import { type Database, deadLetterStore, type StoredLetter, wantedLooks } from '@lockstep/postgres';
import type { Command } from 'commander';

import { numbers } from './arguments.ts';
import { UsageError } from './errors.ts';
import { addDiscard, inDatabase, type Listing, listOptions, wantedOf } from './left-out-options.ts';
import { asJson, print } from './output.ts';
import { knownModule } from './verify.ts';

/** `dead-letters list`, `show`, `retry` and `discard`: what could not be read of the CRM. */
export function addLetterCommands(program: Command): void {
  const letters = program.command('dead-letters').description('what could not be read: rows of bulk files, records in replies, entries of the list of deletions, notifications');
  listOptions(letters.command('list').description('those that are open, newest first, with their cause')).action(async (listing: Listing) => {
    const found = await inDatabase((db) => deadLetterStore(db).list(wantedOf(listing)));
    print(listing.json, found, () => (found.length === 0 ? 'there are no dead letters\n' : found.map(line).join('')));
  });

  letters
    .command('show')
    .description('one of them, with where it stands')
    .argument('<id>', 'its number, from "dead-letters list"', numbers)
    .option(...asJson)
    .action(async ([id = '']: readonly string[], { json }: { json: boolean }) => {
      const letter = await inDatabase((db) => letterOf(db, id));
      print(json, letter, () => `${line(letter)}  ${JSON.stringify(letter.position)}\n`);
    });

  letters
    .command('retry')
    .description('has their records looked at again, within seconds; one that names no record is settled by "lockstep refresh" only')
    .argument('[id...]', 'their numbers, from "dead-letters list"', numbers)
    .option('--module <name>', 'all that are open of a module, e.g. Leads')
    .option(...asJson)
    .action(async (ids: readonly string[], { module, json }: { module?: string; json: boolean }) => {
      if ((module === undefined) === (ids.length === 0)) throw new UsageError('name letters, or a module with --module');
      const result = await inDatabase(async (db) => retry(db, module === undefined ? await Promise.all(ids.map((id) => letterOf(db, id))) : await deadLetterStore(db).list({ module: knownModule(module).apiName, limit: 100_000 })));
      print(json, result, () => `${result.wanted} ${result.wanted === 1 ? 'record is' : 'records are'} looked at again${result.withoutRecord === 0 ? '' : `; ${result.withoutRecord} without a record: "lockstep refresh" reads the whole module`}\n`);
      if (result.wanted === 0) process.exitCode = 1;
    });

  addDiscard(letters, { list: 'dead-letters list', description: 'gives them up: they count no more', discard: (db, ids, because) => deadLetterStore(db).discard(ids, because) });
}

/** @throws {UsageError} for a number that no letter has. */
async function letterOf(db: Database, id: string): Promise<StoredLetter> {
  const found = await deadLetterStore(db).find(id);
  if (found === undefined) throw new UsageError(`there is no dead letter ${id}: "lockstep dead-letters list --all" lists them`);
  return found;
}

async function retry(db: Database, letters: readonly StoredLetter[]): Promise<{ readonly wanted: number; readonly withoutRecord: number }> {
  const records = new Set<string>();
  for (const { module, recordId } of letters) {
    if (module === null || recordId === null || records.has(`${module} ${recordId}`)) continue;
    await wantedLooks(db).want(module, [recordId], 'asked');
    records.add(`${module} ${recordId}`);
  }
  return { wanted: records.size, withoutRecord: letters.filter(({ recordId }) => recordId === null).length };
}

function line({ id, module, recordId, source, code, cause, at, resolvedAt, discardedBecause }: StoredLetter): string {
  const state = discardedBecause !== null ? `given up: ${discardedBecause}` : resolvedAt === null ? 'open' : 'settled';
  return `${id}  ${module ?? 'no module'} ${recordId ?? 'no record'}  ${source}  ${state}  since ${at.toISOString()}\n  ${code}: ${cause}\n`;
}
