import type { FoundRecord, Observed } from '@lockstep/crm-client';
import type { ModuleDefinition } from '@lockstep/modules';
import { canonicalJson, instantMs, isRecordId, observedAt, type Sighting } from '@lockstep/record-log';

import type { DeadLetter } from './dead-letters.ts';
import type { ReadRecord } from './whole-texts.ts';

/** What was read of a record: the values of its module's fields in their order, without those that the reading makes no statement about. */
export type PartialSighting = Omit<Sighting, 'coverage'> & { readonly unread?: readonly string[] };

/** A found record as an observation; null when its id or its `Modified_Time` is none. */
export function sightingOf(module: ModuleDefinition, { id, modifiedTime, values, unread }: ReadRecord, observed: Observed): PartialSighting | null {
  const modifiedMs = isRecordId(id) ? timeOf(modifiedTime) : null;
  if (modifiedMs === null) return null;
  const read = unread.length === 0 ? module.fields : module.fields.filter(({ field }) => !unread.includes(field));
  const sighting = { id, modifiedMs, observedMs: observedAt(observed, modifiedMs), fields: read.map(({ field, kind }) => canonicalJson(kind, values[field])) };
  return unread.length === 0 ? sighting : { ...sighting, unread };
}

function timeOf(text: string): number | null {
  try {
    return instantMs(text);
  } catch {
    return null;
  }
}

/** The dead letter of a record that cannot be read. */
export const unreadable = (source: DeadLetter['source'], { apiName }: ModuleDefinition, { id }: FoundRecord): DeadLetter =>
  isRecordId(id)
    ? { source, key: id, position: { module: apiName, id }, code: 'MODIFIED_TIME_MALFORMED', cause: 'Modified_Time is no time with an offset' }
    : { source, key: '', position: { module: apiName }, code: 'RECORD_ID_MALFORMED', cause: 'the id is no number from 1 to 2^63 - 1' };
