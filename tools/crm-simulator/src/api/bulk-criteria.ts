import type { ModuleSpec } from '../catalogue/catalogue.ts';
import type { FieldKind, FieldSpec } from '../catalogue/field-spec.ts';
import { ApiError } from '../errors.ts';
import { hasFraction, isDay, parseInstant } from '../instants.ts';
import type { Comparable, Condition, Operator } from '../query/condition.ts';
import { keyPosition } from '../record-ids.ts';
import { isObject } from './json-body.ts';

const MAX_CRITERIA = 25;
const MAX_VALUES = 200;

const comparators: Readonly<Record<string, Operator>> = {
  equal: '=',
  not_equal: '!=',
  in: 'in',
  not_in: 'not in',
  less_than: '<',
  less_equal: '<=',
  greater_than: '>',
  greater_equal: '>=',
  between: 'between',
  not_between: 'not between',
  contains: 'like',
  not_contains: 'not like',
  starts_with: 'like',
  ends_with: 'like',
};

const common = ['equal', 'not_equal', 'in', 'not_in'];
const ordered = [...common, 'less_than', 'less_equal', 'greater_than', 'greater_equal'];
const texts = [...common, 'contains', 'not_contains', 'starts_with', 'ends_with'];

function allowed(kind: FieldKind): readonly string[] {
  switch (kind) {
    case 'integer':
    case 'bigint':
    case 'double':
    case 'currency':
    case 'percent':
      return ordered;
    case 'id':
      return ordered;
    case 'date':
    case 'datetime':
      return [...ordered, 'between', 'not_between'];
    case 'boolean':
      return ['equal'];
    case 'lookup':
    case 'ownerlookup':
    case 'userlookup':
    case 'layout':
      return common;
    default:
      return texts;
  }
}

const refuse = (code: string, details: Record<string, unknown> = {}) => new ApiError(400, code, code.toLowerCase().replaceAll('_', ' '), details);

/** Reads the criteria of a bulk read. @throws {ApiError} with the vendor's code. */
export function criteriaOf(module: ModuleSpec, given: unknown): Condition {
  const budget = { criteria: MAX_CRITERIA };
  return conditionOf(module, given, budget);
}

function conditionOf(module: ModuleSpec, given: unknown, budget: { criteria: number }): Condition {
  if (!isObject(given)) throw refuse('INVALID_CRITERIA');
  if (Array.isArray(given.group)) {
    const type = given.group_operator;
    if (type !== 'and' && type !== 'or') throw refuse('GROUP_OPERATOR_NOT_SUPPORTED', { supported: ['and', 'or'] });
    if (given.group.length === 0) throw refuse('INVALID_CRITERIA');
    return { type, parts: given.group.map((part: unknown) => conditionOf(module, part, budget)) };
  }
  if (--budget.criteria < 0) throw refuse('CRITERIA_LIMIT_EXCEEDED', { max_limit: MAX_CRITERIA });
  const name = isObject(given.field) ? given.field.api_name : given.api_name;
  const field = typeof name === 'string' ? module.byName.get(name) : undefined;
  if (field === undefined) throw refuse('FIELD_IN_CRITERIA_NOT_AVAILABLE', { field: name ?? null });
  return comparison(field, String(given.comparator), given.value);
}

function comparison(field: FieldSpec, comparator: string, value: unknown): Condition {
  const operator = comparators[comparator];
  if (operator === undefined || !allowed(field.kind).includes(comparator)) {
    throw refuse('FIELD_COMPARATOR_IN_CRITERIA_NOT_SUPPORTED', { field: field.apiName, supported: allowed(field.kind) });
  }
  if (value === '${EMPTY}') return { type: 'compare', field, operator: comparator === 'not_equal' ? 'is not null' : 'is null', values: [] };
  const list = Array.isArray(value) ? (value as unknown[]) : [value];
  if (list.length > MAX_VALUES) throw refuse('VALUE_LIMIT_EXCEEDED_IN_CRITERIA', { max_limit: MAX_VALUES });
  const wanted = operator.endsWith('between') ? 2 : operator.endsWith('in') ? list.length : 1;
  if (list.length !== wanted || list.length === 0) throw refuse('COMPARATOR_AND_VALUE_IN_CRITERIA_NOT_COMPATIBLE', { field: field.apiName });
  return { type: 'compare', field, operator, values: list.map((item) => patterned(comparator, criterionValue(field, item))) };
}

function patterned(comparator: string, value: Comparable): Comparable {
  if (comparator === 'starts_with') return `${value}%`;
  if (comparator === 'ends_with') return `%${value}`;
  return comparator.endsWith('contains') ? `%${value}%` : value;
}

/** A literal in the form its field is compared in. @throws {ApiError} */
function criterionValue(field: FieldSpec, given: unknown): Comparable {
  const value = literalFor(field, given);
  if (value === undefined) throw refuse('VALUE_IN_CRITERIA_NOT_SUPPORTED', { field: field.apiName });
  return value;
}

function literalFor(field: FieldSpec, given: unknown): Comparable | undefined {
  const text = String(given);
  switch (field.kind) {
    case 'id':
      return keyPosition(text);
    case 'datetime':
      return hasFraction(text) ? undefined : parseInstant(text);
    case 'date':
      return isDay(text) ? text : undefined;
    case 'boolean':
      return text === 'true' ? true : text === 'false' ? false : undefined;
    case 'integer':
    case 'bigint':
    case 'double':
    case 'currency':
    case 'percent':
      return text.trim() === '' || Number.isNaN(Number(text)) ? undefined : Number(text);
    default:
      return text.length <= 255 ? text : undefined;
  }
}
