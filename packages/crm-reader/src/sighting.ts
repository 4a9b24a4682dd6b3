import type { FoundRecord, Observed, RefusedRow } from '@lockstep/crm-client';
import type { TooLarge } from '@lockstep/kafka';
import { loggedFields, type ModuleDefinition } from '@lockstep/modules';
import { canonicalJson, instantMs, isRecordId, observedAt, type Sighting } from '@lockstep/record-log';

import type { DeadLetter } from './dead-letters.ts';
import type { ReadRecord } from './whole-texts.ts';

/** What was read of a record: the values of its module's logged fields in their order, without those that the reading makes no statement about. */
export type PartialSighting = Omit<Sighting, 'coverage'> & { readonly unread?: readonly string[] };

/**
 * A found record as an observation; null when its id or its `Modified_Time` is none, or no field is in the reply. A query shows an empty field as null, so one that is
 * missing from the reply was not read: the sighting makes no statement about it.
 */
export function sightingOf(module: ModuleDefinition, { id, modifiedTime, values, unread }: ReadRecord, observed: Observed): PartialSighting | null {
  const modifiedMs = isRecordId(id) ? timeOf(modifiedTime) : null;
  const fields = loggedFields(module);
  const read = fields.filter(({ field }) => !unread.includes(field) && Object.hasOwn(values, field));
  if (modifiedMs === null || read.length === 0) return null;
  const sighting = { id, modifiedMs, observedMs: observedAt(observed, modifiedMs), fields: read.map(({ field, kind }) => canonicalJson(kind, values[field])) };
  if (read.length === fields.length) return sighting;
  return { ...sighting, unread: fields.filter((one) => !read.includes(one)).map(({ field }) => field) };
}

export function timeOf(text: string): number | null {
  try {
    return instantMs(text);
  } catch {
    return null;
  }
}

/** The dead letter of a row that is no record. */
export const refusedRow = (source: DeadLetter['source'], { apiName }: ModuleDefinition, { id, code, cause }: RefusedRow): DeadLetter =>
  ({ source, key: id ?? '', position: { module: apiName, ...(id === null ? {} : { id }) }, code, cause });

/** The dead letter of a record of which the log takes no message. */
export const tooLarge = (source: DeadLetter['source'], { apiName }: ModuleDefinition, { key, bytes }: TooLarge): DeadLetter =>
  ({ source, key, position: { module: apiName, id: key }, code: 'RECORD_TOO_LARGE', cause: `its ${bytes} bytes are more than a message of the log may have: raise max.message.bytes of its topic` });

/** The dead letter of a record that cannot be read. */
export function unreadable(source: DeadLetter['source'], { apiName }: ModuleDefinition, { id, modifiedTime }: FoundRecord): DeadLetter {
  if (!isRecordId(id)) return { source, key: '', position: { module: apiName }, code: 'RECORD_ID_MALFORMED', cause: 'the id is no number from 1 to 2^63 - 1' };
  const place = { source, key: id, position: { module: apiName, id } };
  if (timeOf(modifiedTime) === null) return { ...place, code: 'MODIFIED_TIME_MALFORMED', cause: 'Modified_Time is no time with an offset' };
  return { ...place, code: 'FIELDS_MISSING', cause: 'no field that was asked for is in the reply' };
}
