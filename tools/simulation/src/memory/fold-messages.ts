import { decodeEvent, emptyRegister, isAlive, type Observation, observe, versionTime } from '@lockstep/record-log';

import type { MemoryRecord } from './memory-table.ts';

/** A message of a record topic. */
export type LoggedMessage = { readonly offset: number; readonly value: Buffer | null };

/** What messages make of records, in the order of their ids, and the records of which a confirmation says something newer that does not fit. */
export type FoldedMessages = { readonly changed: ReadonlyMap<string, MemoryRecord>; readonly unconfirmed: ReadonlySet<string> };

/** Folds messages into records by the pure fold, in the order of the log. */
export function foldMessages(records: ReadonlyMap<string, MemoryRecord>, messages: readonly Pick<LoggedMessage, 'value'>[], epsilonMs: number): FoldedMessages {
  const changed = new Map<string, MemoryRecord>();
  const unconfirmed = new Set<string>();
  for (const { value } of messages) {
    const event = decodeEvent(value ?? '');
    if (event.type === 'CoverageDeclared') continue;
    const before = changed.get(event.id) ?? records.get(event.id);
    const after = afterEvent(before, event, epsilonMs);
    if (after !== before && after !== undefined) changed.set(event.id, after);
    else if (isUnconfirmed(before, event)) unconfirmed.add(event.id);
  }
  return { changed: new Map([...changed].toSorted(([a], [b]) => compareIds(a, b))), unconfirmed };
}

/** The record after an event; the very same one where the event says nothing new. */
function afterEvent(before: MemoryRecord | undefined, event: Observation, epsilonMs: number): MemoryRecord | undefined {
  const { isHidden, ...register } = before ?? { ...emptyRegister, isHidden: false };
  const after = observe(register, event, epsilonMs);
  const isSeen = after.live !== register.live;
  if (!isSeen && after.deletedMs === register.deletedMs && after.listedMs === register.listedMs) return before;
  // What was seen, or counts as deleted now, is hidden no more.
  return { ...after, isHidden: isHidden && !isSeen && isAlive(after, epsilonMs) };
}

/** Whether a confirmation, which changed nothing, says something newer than the register. */
function isUnconfirmed(record: MemoryRecord | undefined, event: Observation): boolean {
  if (event.type !== 'RecordConfirmed') return false;
  const live = record?.live;
  return live === undefined || versionTime(event) > versionTime(live) || (versionTime(event) === versionTime(live) && event.observedMs > live.observedMs);
}

/** Ids are numbers that JavaScript has no room for. */
const compareIds = (a: string, b: string): number => a.length - b.length || (a < b ? -1 : 1);
