import { dayText } from '../instants.ts';
import { mix2 } from '../random.ts';
import type { Draft, Lookup, Value } from './field-spec.ts';

type Generate = (hash: number, record: Draft) => Value;

const item = <T>(items: readonly T[], hash: number): T => items[hash % items.length] as T;

/** One of the items. */
export const oneOf =
  (items: readonly (string | Lookup | readonly string[])[]): Generate =>
  (hash) =>
    item(items, hash);

/** Empty in so many of a hundred records. */
export const orEmpty =
  (percent: number, generate: Generate): Generate =>
  (hash, record) =>
    hash % 100 < percent ? null : generate(mix2(hash, 7), record);

/** A whole number in [from, to). */
export const wholeNumber =
  (from: number, to: number): Generate =>
  (hash) =>
    from + (hash % (to - from));

/** A decimal in [from, to) that a double keeps exactly as it is written. */
export function decimal(from: number, to: number, places: number): Generate {
  const scale = 10 ** places;
  const low = Math.round(from * scale);
  const span = Math.round((to - from) * scale);
  return (hash) => (low + Math.floor((hash / 2 ** 32) * span)) / scale;
}

/** True in so many of a hundred records. */
export const chance =
  (percent: number): Generate =>
  (hash) =>
    hash % 1000 < percent * 10;

/** A day in [from, to), counted from 1970-01-01. */
export const day =
  (from: number, to: number): Generate =>
  (hash) =>
    dayText(from + (hash % (to - from)));

/** A moment within so many days before the seeded record's last change, in whole seconds. */
export const beforeModified =
  (days: number): Generate =>
  (hash, record) =>
    record.bornMs - (hash % (days * 86_400)) * 1000;

/** 18 digits as a string; some begin with zeros in the CSV of the CRM, these do not. */
export const bigInteger: Generate = (hash) => `${100_000_000 + (hash % 899_999_999)}${String(mix2(hash, 3) % 1_000_000_000).padStart(9, '0')}`;

/** Texts made of parts; `{n}` gives the record's number, so that values stay distinct. */
export const words =
  (parts: readonly (readonly string[])[], separator: string): Generate =>
  (hash, record) => {
    let text = '';
    for (let at = 0; at < parts.length; at++) {
      const part = item(parts[at] as readonly string[], mix2(hash, at));
      text = at === 0 ? part : `${text}${separator}${part}`;
    }
    return text.includes('{n}') ? text.replace('{n}', String(record.index)) : text;
  };

/** All ways to choose up to three of the values, in their order; prebuilt, so that records share the arrays. */
export function choices(values: readonly string[]): readonly (readonly string[])[] {
  const chosen: string[][] = values.map((value) => [value]);
  values.forEach((a, i) => values.slice(i + 1).forEach((b, j) => chosen.push([a, b], ...values.slice(i + j + 2, i + j + 4).map((c) => [a, b, c]))));
  return chosen;
}
