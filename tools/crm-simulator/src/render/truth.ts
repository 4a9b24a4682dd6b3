import type { FieldSpec, Value } from '../catalogue/field-spec.ts';
import { utcText } from '../instants.ts';
import type { LiveRecord } from '../store/live-record.ts';

/** A record as the simulator knows it: one plain form, owed to no API of the vendor. */
export type TruthRecord = { id: string; Modified_Time: string; [field: string]: null | string | number | boolean | readonly string[] };

function truthValue(field: FieldSpec, value: Value): TruthRecord[string] {
  if (value === null) return null;
  if (field.kind === 'datetime') return utcText(value as number);
  if (typeof value === 'object') return 'id' in value ? value.id : value;
  return value;
}

/**
 * The truth about a record: date-times in UTC, lookups as the id, multi-select values and tags as arrays of texts, decimals
 * as numbers, big integers as strings.
 */
export function truthOf(record: LiveRecord): TruthRecord {
  const truth: TruthRecord = { id: record.id, Modified_Time: utcText(record.modifiedMs) };
  for (const field of record.module.flatFields) truth[field.apiName] ??= truthValue(field, record.get(field));
  return truth;
}
