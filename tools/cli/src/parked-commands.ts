import { type Database, type ParkedMessage, parkedMessages } from '@lockstep/postgres';
import { retryParkedNow } from '@lockstep/projection';
import type { Command } from 'commander';

import { numbers } from './arguments.ts';
import { UsageError } from './errors.ts';
import { addDiscard, inDatabase, type Listing, listOptions, wantedOf } from './left-out-options.ts';
import { asJson, print } from './output.ts';
import { knownModule } from './verify.ts';

/** `parked list`, `show`, `retry` and `discard`: messages that could not be applied. */
export function addParkedCommands(program: Command): void {
  const parked = program.command('parked').description('messages that could not be applied: they wait for what they conflict with, or for a person');
  listOptions(parked.command('list').description('those that are open, newest first, with their cause')).action(async (listing: Listing) => {
    const messages = await inDatabase((db) => parkedMessages(db).list(wantedOf(listing)));
    print(listing.json, messages, () => (messages.length === 0 ? 'nothing is parked\n' : messages.map(line).join('')));
  });

  parked
    .command('show')
    .description('one of them whole, with its event where that was kept')
    .argument('<id>', 'its number, from "parked list"', numbers)
    .option(...asJson)
    .action(async ([id = '']: readonly string[], { json }: { json: boolean }) => {
      const { value, ...message } = await inDatabase((db) => messageOf(db, id));
      const event = value?.toString('utf8') ?? null;
      print(json, { ...message, event }, () => `${line(message)}  ${event ?? `its event was not kept: "lockstep history ${message.module} ${message.recordId ?? '<id>'}" reads the log`}\n`);
    });

  parked
    .command('retry')
    .description('lets a running projector try them again now, those that were parked for good as well')
    .argument('[id...]', 'their numbers, from "parked list"', numbers)
    .option('--module <name>', 'all that is open of a module, e.g. Leads')
    .option(...asJson)
    .action(async (ids: readonly string[], { module, json }: { module?: string; json: boolean }) => {
      if ((module === undefined) === (ids.length === 0)) throw new UsageError('name messages, or a module with --module');
      const result = await inDatabase((db) => (module === undefined ? retryEach(db, ids) : retryParkedNow(db.pool, knownModule(module).apiName)));
      print(json, result, () => `${result.due} are tried again within seconds${result.withoutValue === 0 ? '' : `; of ${result.withoutValue} the event was not kept: "lockstep resync" looks at their records again`}\n`);
      if (result.due === 0) process.exitCode = 1;
    });

  addDiscard(parked, { list: 'parked list', description: 'gives them up: they are never applied, and count no more. "lockstep verify" still names what the log says otherwise', discard: (db, ids, because) => parkedMessages(db).discard(ids, because) });
}

/** @throws {UsageError} for a number that no message has. */
async function messageOf(db: Database, id: string): Promise<ParkedMessage & { readonly value: Buffer | null }> {
  const found = await parkedMessages(db).find(id);
  if (found === undefined) throw new UsageError(`no message ${id} was parked: "lockstep parked list --all" lists them`);
  return found;
}

/** @throws {UsageError} for a number that no message has; what was named before it is tried again. */
async function retryEach(db: Database, ids: readonly string[]): Promise<{ due: number; withoutValue: number }> {
  const total = { due: 0, withoutValue: 0 };
  for (const id of ids) {
    const { module } = await messageOf(db, id);
    const { due, withoutValue } = await retryParkedNow(db.pool, module, [id]);
    total.due += due;
    total.withoutValue += withoutValue;
  }
  return total;
}

function line({ id, module, topic, partition, offset, recordId, code, cause, isWaiting, tries, parkedAt, resolvedAt, discardedBecause }: ParkedMessage): string {
  const state = discardedBecause !== null ? `given up: ${discardedBecause}` : resolvedAt !== null ? 'resolved' : isWaiting ? `waits, tried ${tries} times` : 'for good';
  return `${id}  ${module} ${recordId ?? 'no record'}  ${state}  since ${parkedAt.toISOString()}  ${topic}/${partition} offset ${offset}\n  ${code}: ${cause}\n`;
}
