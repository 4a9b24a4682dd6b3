import type { ModuleDefinition } from '@lockstep/modules';
import { type Content, decodeEvent, emptyRegister, isAlive, type Observation, observe, versionTime } from '@lockstep/record-log';

import type { MemoryTable, MemoryRecord } from './memory-table.ts';

/** A message of a record topic. */
export type LoggedMessage = { readonly offset: number; readonly value: Buffer | null };

/** What messages make of records, in the order of their ids, and the records of which a confirmation says something newer that does not fit. */
export type FoldedMessages = { readonly changed: ReadonlyMap<string, MemoryRecord>; readonly unconfirmed: ReadonlySet<string> };

/** Folds messages into records by the pure fold, in the order of the log. A content that makes no statement about a field keeps the value that stands in the row. */
export function foldMessages({ records, epsilonMs, module, coverages }: Pick<MemoryTable, 'records' | 'epsilonMs' | 'module' | 'coverages'>, messages: readonly Pick<LoggedMessage, 'value'>[]): FoldedMessages {
  const changed = new Map<string, MemoryRecord>();
  const unconfirmed = new Set<string>();
  for (const { value } of messages) {
    const event = decodeEvent(value ?? '');
    if (event.type === 'CoverageDeclared') {
      coverages.set(event.coverage, event.fields);
      continue;
    }
    const before = changed.get(event.id) ?? records.get(event.id);
    const after = withKept(module, coverages, before, afterEvent(before, event, epsilonMs));
    if (after !== before && after !== undefined) changed.set(event.id, after);
    else if (isUnconfirmed(before, event)) unconfirmed.add(event.id);
  }
  return { changed: new Map([...changed].toSorted(([a], [b]) => compareIds(a, b))), unconfirmed };
}

/** The same record with a value for each field of its module: what its content says nothing about stays. */
function withKept({ fields }: ModuleDefinition, coverages: ReadonlyMap<string, readonly string[]>, before: MemoryRecord | undefined, after: MemoryRecord | undefined): MemoryRecord | undefined {
  if (after?.content === undefined || after.content === before?.content) return after;
  const stated = coverages.get(after.content.coverage) ?? [];
  if (stated.length === 0 || stated.length === fields.length) return after;
  const { content } = after;
  const values: Content['fields'] = fields.map(({ field }, at) => (stated.includes(field) ? (content.fields[stated.indexOf(field)] ?? null) : (before?.content?.fields[at] ?? null)));
  return { ...after, content: { ...content, fields: values } };
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
