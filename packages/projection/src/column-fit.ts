import type { FieldMapping } from '@lockstep/modules';

import { type DescribedColumn, lengthOf, scaleOf, secondDigitsOf, wholeDigitsOf } from './described-table.ts';
import type { CellRule } from './exact-value.ts';

type Kind = FieldMapping['kind'];
type Mapping = Pick<FieldMapping, 'kind' | 'onExcessScale'>;

const texts = ['text', 'varchar', 'bpchar', 'citext'];
const floats = ['float8', 'float4'];
const integers = ['int8', 'int4', 'int2'];

/** The base types that hold a kind of CRM value unchanged, or refuse it. */
const fitting: Readonly<Record<Kind, readonly string[]>> = {
  text: [...texts, 'enum', 'uuid'],
  multiselect: texts,
  tags: texts,
  integer: [...integers, 'numeric', ...texts],
  decimal: ['numeric', ...integers, ...texts],
  boolean: ['bool', ...texts],
  date: ['date', 'timestamp', ...texts],
  datetime: ['timestamptz', 'timestamp', ...texts],
  lookup: ['int8', 'numeric', ...texts],
};

/** Characters of a value of the kind, where all of them have so many. */
const leastLength: Partial<Record<Kind, number>> = { lookup: 19, boolean: 5, date: 10, datetime: 20 };
const ID_DIGITS = 19;
const shownAs: Readonly<Record<string, string>> = { bool: 'boolean', bpchar: 'char', int8: 'bigint', int4: 'integer', int2: 'smallint', float8: 'double precision', float4: 'real' };
const listed = (types: readonly string[]): string => types.map((type) => shownAs[type] ?? type).join(', ');

/** What keeps a column from ever holding values of the mapping's kind, with the remedy; null where it can. */
export function misfit({ kind, onExcessScale }: Mapping, column: DescribedColumn): string | null {
  const { base } = column;
  if (floats.includes(base) && (kind === 'decimal' || kind === 'integer')) {
    return onExcessScale === 'round' ? null : `is ${column.shown}, which keeps no ${kind} exactly: make it numeric, or let the mapping say onExcessScale 'round'`;
  }
  if (!fitting[kind].includes(base)) return `is ${column.shown}, which does not hold a CRM value of kind ${kind} unchanged: make it one of ${listed(fitting[kind])}, or map another column`;
  const least = leastLength[kind] ?? 0;
  if (texts.includes(base) && lengthOf(column) < least) return `is ${column.shown}, and a ${kind} needs ${least} characters: make it longer`;
  if (kind === 'lookup' && base === 'numeric' && !holdsIds(column)) return `is ${column.shown}, and an id has up to ${ID_DIGITS} digits: make it bigint or numeric(${ID_DIGITS},0)`;
  return null;
}

// With digits after the point an id would read `1.00`.
const holdsIds = (column: DescribedColumn): boolean => wholeDigitsOf(column) >= ID_DIGITS && (scaleOf(column) === 0 || scaleOf(column) === Number.POSITIVE_INFINITY);

/** What keeps a column from being the key, with the remedy; null where it can. */
export function keyMisfit(column: DescribedColumn): string | null {
  const holds = column.base === 'int8' || (column.base === 'numeric' && holdsIds(column)) || (texts.includes(column.base) && column.base !== 'citext' && lengthOf(column) >= ID_DIGITS);
  return holds ? null : `is ${column.shown}, which does not hold a CRM id: make it bigint, or a numeric or varchar of at least ${ID_DIGITS} digits`;
}

/** What keeps a column from holding the time of the last edit or of the deletion, with the remedy; null where it can. */
export const timeMisfit = (column: DescribedColumn): string | null =>
  column.base === 'timestamptz' || column.base === 'timestamp' ? null : `is ${column.shown}, which does not hold an instant: make it timestamptz`;

/** The rule that finds values which the column would change in silence; undefined where there are none. */
export function cellRule({ kind, onExcessScale }: Mapping, column: DescribedColumn): CellRule | undefined {
  const rule = (form: CellRule['form'], limit = Number.POSITIVE_INFINITY): CellRule => ({ column: column.name, form, limit, isPadding: form === 'varchar' || form === 'bytes' || form === 'char' });
  const digits = (kept: number): number => (onExcessScale === 'round' ? Number.POSITIVE_INFINITY : kept);
  switch (column.base) {
    case 'int8':
    case 'int4':
    case 'int2':
      return rule('integer');
    case 'numeric':
      return rule('decimal', digits(scaleOf(column)));
    case 'float8':
    case 'float4':
      return rule('decimal');
    case 'bool':
      return rule('boolean');
    case 'date':
      return rule('date');
    case 'timestamptz':
      return rule('instant', digits(secondDigitsOf(column)));
    case 'timestamp':
      return kind === 'date' ? rule('date') : rule('utc', digits(secondDigitsOf(column)));
    case 'uuid':
      return rule('uuid');
    case 'bpchar':
      return kind === 'boolean' ? rule('words') : rule('char');
    case 'varchar':
      return kind === 'boolean' ? rule('words') : Number.isFinite(lengthOf(column)) ? rule(column.countsBytes ? 'bytes' : 'varchar', lengthOf(column)) : undefined;
    default:
      return kind === 'boolean' && column.base !== 'enum' ? rule('words') : undefined;
  }
}

/** The least step of a bookkeeping time that the column keeps, in milliseconds. */
export const timeStepMs = (column: DescribedColumn): number => 10 ** Math.max(0, 3 - secondDigitsOf(column));
