import { type Explanation, type HistoryEntry } from '@lockstep/rebuild';
import { coverageOf } from '@lockstep/modules';
import type { FieldValue } from '@lockstep/record-log';

import { table } from './status.ts';
import { knownModule } from './verify.ts';

/** The history of a record for people: each message, what it says, and what the fold made of it. */
export function historyText(moduleName: string, id: string, history: readonly HistoryEntry[], { notYetApplied = 0, asOf }: { readonly notYetApplied?: number; /** Up to when, as epoch milliseconds. */ readonly asOf?: number }): string {
  const own = coverageOf(knownModule(moduleName));
  let before: readonly FieldValue[] | undefined;
  const rows = history.map(({ partition, offset, appendedMs, origin, reading, event, outcome, isAlive }) => {
    const place = [`${partition}/${offset}`, time(appendedMs), origin === '' ? '-' : reading === '' ? origin : `${origin}: ${reading}`, outcome];
    if (event === null) return [...place, 'no event of this build'];
    switch (event.type) {
      case 'RecordDeleted':
        return [...place, `deleted at ${time(event.deletedMs)}${event.listedMs === undefined ? '' : `, listed at ${time(event.listedMs)}`}${isAlive ? '; seen later, so it exists' : ''}`];
      case 'RecordConfirmed':
        return [...place, `confirmed at ${time(event.observedMs)}: modified ${time(event.modifiedMs)}, ${event.hash.slice(0, 8)}`];
      case 'CoverageDeclared':
        return [...place, 'a coverage'];
      case 'RecordSeen':
      case 'RecordRepaired': {
        const isOwn = event.coverage === own.id;
        const changes = !isOwn ? `${event.fields.length} fields of coverage ${event.coverage}` : before === undefined ? `${event.fields.filter((value) => value !== null).length} fields` : changesOf(own.fields, before, event.fields);
        if (isOwn && outcome === 'won') before = event.fields;
        return [...place, `${event.type === 'RecordRepaired' ? 'repaired: ' : ''}modified ${time(event.modifiedMs)}, looked at ${time(event.observedMs)}, ${event.hash.slice(0, 8)}: ${changes}`];
      }
    }
  });
  if (rows.length === 0) return `${[`${knownModule(moduleName).apiName} ${id}: ${asOf === undefined ? 'the log has nothing of it' : `the log had nothing of it by ${time(asOf)}`}`, ...waitingText(notYetApplied)].join('\n')}\n`;
  return `${[...table([['place', 'appended', 'source', 'outcome', 'what it says'], ...rows]), ...waitingText(notYetApplied)].join('\n')}\n`;
}

const changesOf = (names: readonly string[], before: readonly FieldValue[], after: readonly FieldValue[]): string => {
  const changed = after.flatMap((value, i) => (value === before[i] ? [] : [`${names[i]} ${JSON.stringify(before[i])} → ${JSON.stringify(value)}`]));
  return changed.length === 0 ? 'nothing changed' : changed.join(', ');
};

const time = (ms: number): string => new Date(ms).toISOString();

/** What the projector has not come to, as a line of its own; none where there is nothing. */
export const waitingText = (notYetApplied: number): string[] => (notYetApplied === 0 ? [] : [`${notYetApplied} ${notYetApplied === 1 ? 'message of it waits' : 'messages of it wait'} for the projector`]);

/**
 * Why a row is as it is, for people.
 * @param differing columns that are not what the log says, with what it says.
 */
export function explanationText({ module, id, history, notYetApplied, row, isAlive, isSettled, hiddenSince, lookWanted, parked }: Explanation, differing: ReadonlyMap<string, string | null>): string {
  if (history.length === 0) return `${module} ${id}: ${waitingText(notYetApplied)[0] ?? 'the log has nothing of it'}\n`;
  const states = [
    isAlive ? 'it exists in the CRM, as far as is known' : 'it counts as deleted',
    ...(isSettled ? [] : ['that is in doubt until it is looked at again']),
    ...(hiddenSince === null ? [] : [`looks have not found it since ${hiddenSince}`]),
    ...(lookWanted === null ? [] : [`a look at it is wanted: ${lookWanted}`]),
    ...waitingText(notYetApplied),
  ];
  const columns = (row ?? []).map(({ column, inTable, from }) => [`  ${column}`, JSON.stringify(inTable), from === null ? '-' : `${from.field}, ${from.partition}/${from.offset}${from.origin === '' ? '' : ` (${from.origin})`}${differing.has(column) ? `, which says ${JSON.stringify(differing.get(column))}: changed by hand, or by another application` : ''}`]);
  return [
    `${module} ${id}: ${states.join('; ')}`,
    ...(row === null ? ['it has no row'] : table([['  column', 'in the table', 'from'], ...columns])),
    ...parked.map((one) => `${!one.isOpen ? 'was parked, and is overtaken' : one.isWaiting ? 'waits' : 'parked for good'}: ${one.partition}/${one.offset}, ${one.code}: ${one.cause}, since ${one.parkedAt}`),
    '',
  ].join('\n');
}
