import type { ModuleDefinition } from '@lockstep/modules';
import type { IncidentKind, LeftOut, LeftOutOfModule } from '@lockstep/postgres';

import type { Reporter } from './reporter.ts';

type Kind = { readonly incident: IncidentKind; readonly what: (count: number) => string; readonly remedy: (module: string) => string };

const plural = (count: number, one: string, many: string): string => `${count} ${count === 1 ? one : many}`;

const kinds: Readonly<Record<keyof LeftOutOfModule, Kind>> = {
  halted: { incident: 'projector-halted', what: (count) => `${plural(count, 'partition is', 'partitions are')} not applied`, remedy: () => 'they go on by themselves once the cause is gone' },
  stuck: { incident: 'partition-stuck', what: (count) => `${plural(count, 'partition stands', 'partitions stand')} still`, remedy: () => 'look for sessions that hold locks: select * from pg_stat_activity where wait_event_type = \'Lock\'' },
  parked: { incident: 'messages-parked', what: (count) => `${plural(count, 'message', 'messages')} could not be applied`, remedy: (module) => `"lockstep parked list --module ${module}"` },
  aside: { incident: 'records-unreadable', what: (count) => `${plural(count, 'record', 'records')} cannot be read`, remedy: (module) => `their looks are repeated, from a minute to six hours apart; "lockstep resume ${module}" repeats them now` },
  deadLetters: { incident: 'dead-letters', what: (count) => `${plural(count, 'row or entry', 'rows or entries')} could not be read`, remedy: (module) => `"lockstep dead-letters list --module ${module}"` },
  missingFields: { incident: 'field-missing', what: (count) => `${plural(count, 'mapped field', 'mapped fields')} cannot be read; the columns keep what they hold`, remedy: () => 'give the field back, or take it out of the mapping' },
};

/** Reports stored hints that the reader cannot read on: of all modules at once. Repeating it is idempotent. */
export async function reportUnreadHints({ unreadHints, reporter }: { readonly unreadHints: () => Promise<LeftOut | null>; readonly reporter: Reporter }): Promise<void> {
  const found = await unreadHints();
  if (found === null) return await reporter.close('', 'hints-unread');
  const { count, since, cause } = found;
  await reporter.open('', 'hints-unread', `hints of ${plural(count, 'partition', 'partitions')} are not answered since ${since.toISOString()}; catch-ups find what they announced. Most often: ${cause}`);
}

export type LeftOutDeps = {
  /** What the table of a module lacks: one query. */
  readonly leftOut: (module: string) => Promise<LeftOutOfModule>;
  readonly reporter: Reporter;
};

/** Reports what the table of a module lacks for now, as one incident a kind. Repeating it is idempotent. */
export async function reportLeftOut({ leftOut, reporter }: LeftOutDeps, { apiName }: ModuleDefinition): Promise<void> {
  const left = await leftOut(apiName);
  for (const [name, { incident, what, remedy }] of Object.entries(kinds) as [keyof LeftOutOfModule, Kind][]) {
    const found: LeftOut | null = left[name];
    if (found === null) await reporter.close(apiName, incident);
    else await reporter.open(apiName, incident, `${what(found.count)} since ${found.since.toISOString()}, most often: ${found.cause}. What to do: ${remedy(apiName)}`);
  }
}
