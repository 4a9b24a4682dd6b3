import { canonicalInstant } from './canonical-instant.ts';
import { canonicalJsonText } from './canonical-json-text.ts';
import type { FieldValue } from './observation.ts';

/** How a CRM value is brought into its one canonical form. `integer` and `decimal` are strings: ids and money exceed doubles. */
export type FieldKind = 'text' | 'integer' | 'decimal' | 'boolean' | 'date' | 'datetime' | 'lookup' | 'multiselect' | 'tags';

/**
 * The canonical form of a bulk CSV cell. A cell that is not of its kind is kept as it stands: it is the column's type that
 * says whether it fits, and the projector that parks it. What a multi-select cell holds only the picklist's values say: see {@link multiSelectReader}.
 */
export function canonicalCell(kind: FieldKind, cell: string): FieldValue {
  if (cell === '') return null;
  switch (kind) {
    case 'text':
    case 'date':
    case 'tags':
    case 'multiselect':
      return cell;
    case 'integer':
    case 'lookup':
      return canonicalInteger(cell);
    case 'decimal':
      return canonicalDecimal(cell);
    case 'boolean':
      return cell === 'true' ? true : cell === 'false' ? false : cell;
    case 'datetime':
      return canonicalInstant(cell);
  }
}

/** The canonical form of a JSON value of a COQL or record reply: the same as {@link canonicalCell} gives for the same record. */
export function canonicalJson(kind: FieldKind, value: unknown): FieldValue {
  if (value === null || value === undefined || value === '') return null;
  if (Array.isArray(value)) return canonicalList(kind, value);
  if (typeof value === 'object') return canonicalObject(value);
  if (typeof value === 'boolean') return kind === 'boolean' ? value : String(value);
  return canonicalCell(kind, `${value as string | number}`);
}

/**
 * The id of a lookup, as bulk files have it. An object without one is JSON, so that no part of it is lost: no column of a lookup takes that, and it is kept
 * aside. One that holds nothing is empty, as its cell is.
 */
function canonicalObject(value: object): FieldValue {
  const id = 'id' in value ? value.id : undefined;
  if (typeof id === 'number' || (typeof id === 'string' && id !== '')) return canonicalCell('lookup', String(id));
  return 'id' in value && Object.values(value).every((part) => part === null || part === '') ? null : canonicalJsonText(value);
}

/** The names of a list, joined as COQL and bulk files join them; a list of anything else is JSON: no part of it may be lost. */
function canonicalList(kind: FieldKind, items: readonly unknown[]): FieldValue {
  if (items.length === 0) return null;
  const names = items.map(nameOf);
  if (names.some((name) => name === null)) return canonicalJsonText(items);
  const text = names.join(kind === 'tags' ? ',' : ';');
  // As an empty cell is.
  return text === '' ? null : text;
}

function nameOf(item: unknown): string | null {
  if (typeof item === 'string') return item;
  return typeof item === 'object' && item !== null && 'name' in item && typeof item.name === 'string' ? item.name : null;
}

const plainInteger = /^-?(?:0|[1-9]\d*)$/;
const anyInteger = /^([+-]?)0*(\d+)$/;
const anyDecimal = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d+))?$/;

function canonicalInteger(text: string): string {
  if (plainInteger.test(text) && text !== '-0') return text;
  const match = anyInteger.exec(text);
  if (match === null) return canonicalDecimal(text);
  const [, sign, digits = ''] = match;
  return sign === '-' && digits !== '0' ? `-${digits}` : digits;
}

/** Plain digits without exponent, leading zeros or trailing zeros: `50000.00`, `5e4` and `50000` are one value. */
function canonicalDecimal(text: string): string {
  if (plainInteger.test(text) && text !== '-0') return text;
  const match = anyDecimal.exec(text);
  const [, sign, before = '', after = '', power = '0'] = match ?? [];
  const digits = before + after;
  if (digits === '' || Math.abs(Number(power)) > 400) return text;
  const point = before.length + Number(power);
  const padded = point < 0 ? '0'.repeat(-point) + digits : digits.padEnd(point, '0');
  const at = Math.max(point, 0);
  const whole = padded.slice(0, at).replace(/^0+/, '') || '0';
  const fraction = padded.slice(at).replace(/0+$/, '');
  const value = fraction === '' ? whole : `${whole}.${fraction}`;
  return sign === '-' && value !== '0' ? `-${value}` : value;
}
