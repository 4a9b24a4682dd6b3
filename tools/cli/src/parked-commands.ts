import { type Database, type ParkedMessage, parkedMessages } from '@lockstep/postgres';
import { retryParkedNow } from '@lockstep/projection';
import type { Command } from 'commander';

import { numbers, whole } from './arguments.ts';
import { UsageError } from './errors.ts';
import { onDatabase } from './on-database.ts';
import { asJson, print } from './output.ts';
import { environment } from './run-file.ts';
import { knownModule } from './verify.ts';

type Listing = { module?: string; all: boolean; limit: number; json: boolean };

/** `parked list`, `show`, `retry` and `discard`: messages that could not be applied. */
export function addParkedCommands(program: Command): void {
  const parked = program.command('parked').description('messages that could not be applied: they wait for what they conflict with, or for a person');
  parked
    .command('list')
    .description('those that are open, newest first, with their cause')
    .option('--module <name>', 'only those of a module, e.g. Leads')
    .option('--all', 'those that are over as well', false)
    .option('--limit <number>', 'how many at most', whole, 100)
    .option(...asJson)
    .action(async ({ module, all, limit, json }: Listing) => {
      const of = module === undefined ? {} : { module: knownModule(module).apiName };
      const messages = await inDatabase((db) => parkedMessages(db).list({ ...of, all, limit }));
      print(json, messages, () => (messages.length === 0 ? 'nothing is parked\n' : messages.map(line).join('')));
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

  parked
    .command('discard')
    .description('gives them up: they are never applied, and count no more. "lockstep verify" still names what the log says otherwise')
    .argument('<id...>', 'their numbers, from "parked list"', numbers)
    .requiredOption('--reason <text>', 'why, for those who look later')
    .option(...asJson)
    .action(async (ids: readonly string[], { reason, json }: { reason: string; json: boolean }) => {
      const discarded = await inDatabase((db) => parkedMessages(db).discard(ids, reason));
      print(json, { discarded }, () => `${discarded.length} of ${ids.length} were open, and are given up\n`);
      if (discarded.length < ids.length) process.exitCode = 1;
    });
}

const inDatabase = async <T>(work: (db: Database) => Promise<T>): Promise<T> => await onDatabase(await environment('DATABASE_URL'), work);

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
