import type { FieldSpec, Value } from '../catalogue/field-spec.ts';
import { hashText } from '../random.ts';
import { idOf, keyBase } from '../record-ids.ts';

const colours = ['#879BFC', '#57B1FD', '#63C57E', '#E7A826'];

/** A tag as records show it. */
const tagOf = (name: string) => ({ name, id: idOf(keyBase.tags + (hashText(name) % 100_000)), color_code: colours[hashText(name) % colours.length] });

/** A rich text as lists and queries show it: its first characters. @see CRM API reference, "Get rich text fields" */
export const cutText = (field: FieldSpec, value: unknown, most: number): unknown =>
  field.textarea === 'rich_text' && typeof value === 'string' && most > 0 ? value.slice(0, most) : value;

/** Writes values as the JSON of record and COQL replies; `instant` knows the calling user's zone. */
export function jsonValue(field: FieldSpec, value: Value, instant: (ms: number) => string): unknown {
  if (value === null) return field.kind === 'tags' ? [] : null;
  switch (field.kind) {
    case 'datetime':
      return instant(value as number);
    case 'tags':
      return (value as readonly string[]).map(tagOf);
    default:
      return value;
  }
}
