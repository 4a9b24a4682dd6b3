import type { Comparable, Condition } from './condition.ts';

/** A closed interval; empty when `from > to`. */
export type Span = { readonly from: number; readonly to: number };

/** No restriction. */
const everything: Span = { from: -Infinity, to: Infinity };

const intersection = (a: Span, b: Span): Span => ({ from: Math.max(a.from, b.from), to: Math.min(a.to, b.to) });
const hull = (a: Span, b: Span): Span => {
  if (a.from > a.to) return b;
  return b.from > b.to ? a : { from: Math.min(a.from, b.from), to: Math.max(a.to, b.to) };
};

/**
 * The smallest interval that surely holds the field's value in every record that meets the condition. Keyset conditions,
 * `(t > a or (t = a and id > b))`, come out as `t >= a`.
 */
export function spanOf(condition: Condition, fieldName: string): Span {
  switch (condition.type) {
    case 'and':
      return condition.parts.map((part) => spanOf(part, fieldName)).reduce(intersection, everything);
    case 'or':
      return condition.parts.map((part) => spanOf(part, fieldName)).reduce(hull);
    case 'compare':
      return condition.field.apiName === fieldName ? spanOfComparison(condition.operator, condition.values) : everything;
  }
}

function spanOfComparison(operator: string, values: readonly Comparable[]): Span {
  const numbers = values.filter((value) => typeof value === 'number');
  if (numbers.length !== values.length || numbers.length === 0) return everything;
  const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
  switch (operator) {
    case '=':
    case 'in':
      return { from: low, to: high };
    case 'between':
      return { from: numbers[0] as number, to: numbers[1] as number };
    case '<':
    case '<=':
      return { from: -Infinity, to: high };
    case '>':
    case '>=':
      return { from: low, to: Infinity };
    default:
      return everything;
  }
}

/** The ids of a top-level `id in (…)` or `id = …`: then nothing else need be read. */
export function keysOf(condition: Condition): readonly number[] | undefined {
  if (condition.type === 'and') return condition.parts.map(keysOf).find((keys) => keys !== undefined);
  if (condition.type !== 'compare' || condition.field.kind !== 'id') return undefined;
  return condition.operator === '=' || condition.operator === 'in' ? condition.values.filter((v) => typeof v === 'number') : undefined;
}
