import type { ModuleSpec } from '../catalogue/catalogue.ts';
import { type FieldSpec, isFlat, type Lookup, type Value } from '../catalogue/field-spec.ts';
import { AdminError } from '../errors.ts';
import { isDay, parseInstant, wholeSecond } from '../instants.ts';
import type { LiveRecord } from './live-record.ts';

type FindRecord = (module: string, id: string) => LiveRecord | undefined;

/**
 * Turns the JSON of a write into values. Strict about kinds, so that no impossible record comes about.
 * @param find the live record of a module with this id: what a lookup may point to.
 * @throws {AdminError} `UNKNOWN_FIELD`, `READ_ONLY_FIELD` or `WRONG_VALUE`, naming the field.
 */
export function fieldValues(module: ModuleSpec, input: Readonly<Record<string, unknown>>, find: FindRecord): Map<string, Value> {
  const values = new Map<string, Value>();
  for (const [name, given] of Object.entries(input)) {
    const field = module.byName.get(name);
    if (field === undefined) throw new AdminError(400, 'UNKNOWN_FIELD', `${module.apiName} has no field ${name}`);
    if (field.readOnly || !isFlat(field)) throw new AdminError(400, 'READ_ONLY_FIELD', `${name} is set by the CRM`);
    values.set(name, fieldValue(field, given, find));
  }
  return values;
}

function fieldValue(field: FieldSpec, given: unknown, find: FindRecord): Value {
  if (given === null || given === '') return field.kind === 'boolean' ? false : null;
  const value = converted(field, given, find);
  if (value === undefined) throw new AdminError(400, 'WRONG_VALUE', `${field.apiName} cannot hold ${JSON.stringify(given).slice(0, 80)} (${field.kind})`);
  return value;
}

function converted(field: FieldSpec, given: unknown, find: FindRecord): Value | undefined {
  switch (field.kind) {
    case 'boolean':
      return typeof given === 'boolean' ? given : undefined;
    case 'integer':
      return Number.isInteger(given) ? (given as number) : undefined;
    case 'double':
    case 'currency':
    case 'percent':
      return Number.isFinite(given) ? (given as number) : undefined;
    case 'bigint':
      return /^-?\d{1,18}$/.test(String(given)) ? String(given) : undefined;
    case 'date':
      return isDay(given) ? given : undefined;
    case 'datetime': {
      const ms = parseInstant(given);
      return ms === undefined ? undefined : wholeSecond(ms);
    }
    case 'lookup':
    case 'ownerlookup':
    case 'userlookup':
      return lookupOf(field, given, find);
    case 'multiselectpicklist':
    case 'tags':
      return namesOf(given);
    default:
      return typeof given === 'string' && given.length <= field.length ? given : undefined;
  }
}

function lookupOf(field: FieldSpec, given: unknown, find: FindRecord): Lookup | undefined {
  const id = typeof given === 'object' && given !== null && 'id' in given ? given.id : given;
  const target = field.targets.find((one) => one.id === id);
  if (target !== undefined || field.lookupModule === null || typeof id !== 'string') return target;
  const record = find(field.lookupModule, id);
  return record === undefined ? undefined : asLookup(record);
}

/** A record as the value of a lookup that points to it. */
export const asLookup = (record: LiveRecord): Lookup => ({ id: record.id, name: record.displayName ?? '' });

function namesOf(given: unknown): readonly string[] | null | undefined {
  if (!Array.isArray(given)) return undefined;
  const names = given.map((item: unknown) => (typeof item === 'object' && item !== null && 'name' in item ? item.name : item));
  if (!names.every((name) => typeof name === 'string')) return undefined;
  return names.length === 0 ? null : names;
}
