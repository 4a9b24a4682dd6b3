import type { FieldSpec, Value } from '../catalogue/field-spec.ts';
import type { LiveRecord } from '../store/live-record.ts';

/** How a field is compared; the words of bulk criteria and the signs of COQL come to the same. */
export type Operator = '=' | '!=' | '<' | '<=' | '>' | '>=' | 'in' | 'not in' | 'between' | 'not between' | 'like' | 'not like' | 'is null' | 'is not null';

/** A value brought into a form that can be compared: epoch ms, the key of an id, a number, a text. */
export type Comparable = number | string | boolean;

/** One comparison, or several joined. */
export type Condition =
  | { readonly type: 'compare'; readonly field: FieldSpec; readonly operator: Operator; readonly values: readonly Comparable[] }
  | { readonly type: 'and' | 'or'; readonly parts: readonly Condition[] };

/** The comparable form of a record's value; null where the field is empty. */
export function comparable(record: LiveRecord, field: FieldSpec): Comparable | null {
  if (field.kind === 'id') return record.key;
  if (field.apiName === 'Modified_Time') return record.modifiedMs;
  return comparableValue(field, record.get(field));
}

function comparableValue(field: FieldSpec, value: Value): Comparable | null {
  if (value === null) return null;
  if (Array.isArray(value)) return value.join(';');
  if (typeof value === 'object') return 'id' in value ? value.id : null;
  return field.kind === 'bigint' ? Number(value) : value;
}

/** @returns whether the record meets the condition; an empty field meets `is null`, `!=` and the denials only. */
export function matches(condition: Condition, record: LiveRecord): boolean {
  switch (condition.type) {
    case 'and':
      return condition.parts.every((part) => matches(part, record));
    case 'or':
      return condition.parts.some((part) => matches(part, record));
    case 'compare':
      return holds(condition.operator, comparable(record, condition.field), condition.values);
  }
}

function holds(operator: Operator, value: Comparable | null, wanted: readonly Comparable[]): boolean {
  if (operator === 'is null') return value === null;
  if (operator === 'is not null') return value !== null;
  const denies = operator === '!=' || operator.startsWith('not ');
  if (value === null) return denies;
  return denies !== positive(operator, value, wanted);
}

function positive(operator: Operator, value: Comparable, wanted: readonly Comparable[]): boolean {
  const first = wanted[0] as Comparable;
  switch (operator) {
    case '<':
      return value < first;
    case '<=':
      return value <= first;
    case '>':
      return value > first;
    case '>=':
      return value >= first;
    case 'between':
    case 'not between':
      return value >= first && value <= (wanted[1] as Comparable);
    case 'like':
    case 'not like':
      return likePattern(String(first)).test(String(value));
    case '=':
    case '!=':
    case 'in':
    case 'not in':
      return wanted.includes(value);
    case 'is null':
    case 'is not null':
      return false;
  }
}

const patterns = new Map<string, RegExp>();

/** `%` stands for any text; upper and lower case are the same. */
function likePattern(text: string): RegExp {
  let pattern = patterns.get(text);
  if (pattern === undefined) {
    pattern = new RegExp(`^${text.split('%').map((part) => part.replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`)).join('.*')}$`, 'isu');
    if (patterns.size > 1000) patterns.clear();
    patterns.set(text, pattern);
  }
  return pattern;
}
