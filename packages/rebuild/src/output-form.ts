import type { FieldMapping } from '@lockstep/modules';
import { type DescribedColumn, scaleOf } from '@lockstep/projection';

const [ZERO, POINT, SPACE, PLUS, COLON, MINUS, T, Z, BACKSLASH, N] = [0x30, 0x2e, 0x20, 0x2b, 0x3a, 0x2d, 0x54, 0x5a, 0x5c, 0x4e];
const DATE = 10;
const INSTANT = 20;

/**
 * How Postgres gives out a value that was put in as the log has it. Each form is another spelling of the same value, so that where a column gives out that
 * spelling, it holds the value: what a type gives out reads back as the same bytes. A value of a form that is not foreseen here stays as it is, and
 * is compared in Postgres.
 */
export type OutputForm = 'same' | 'instant' | 'timestamp' | 'midnight' | { readonly scale: number };

/** The form of a mapped column's values. */
export function outputFormOf({ kind }: Pick<FieldMapping, 'kind'>, column: DescribedColumn): OutputForm {
  switch (column.base) {
    case 'timestamptz':
      return 'instant';
    case 'timestamp':
      return kind === 'date' ? 'midnight' : 'timestamp';
    case 'numeric':
      return column.modifier >= 0 && scaleOf(column) > 0 ? { scale: scaleOf(column) } : 'same';
    default:
      return 'same';
  }
}

/** A column in a query whose text is compared: a char is padded with blanks that its text leaves out, and that are not part of its value. */
export const asCompared = (name: string, { base, modifier }: DescribedColumn): string => (base === 'bpchar' && modifier >= 0 ? `${name}::pg_catalog.text` : name);

/**
 * Puts a cell of COPY text, which was copied to `from` up to `to` in `target`, into the form that Postgres gives out.
 * @returns where it ends.
 */
export function inOutputForm(form: Exclude<OutputForm, 'same'>, target: Buffer, from: number, to: number): number {
  if (to - from === 2 && target[from] === BACKSLASH && target[from + 1] === N) return to;
  switch (form) {
    case 'instant':
      if (!isPlainInstant(target, from, to)) return to;
      target[from + DATE] = SPACE;
      target[to - 1] = PLUS;
      target[to] = ZERO;
      target[to + 1] = ZERO;
      return to + 2;
    case 'timestamp':
      if (!isPlainInstant(target, from, to)) return to;
      target[from + DATE] = SPACE;
      return to - 1;
    case 'midnight':
      return to - from === DATE ? to + target.write(' 00:00:00', to, 'latin1') : to;
    default:
      return padded(form.scale, target, from, to);
  }
}

/** A time in milliseconds, as a timestamp column gives it out; null where its spelling is not foreseen. */
export function outputTime(ms: number, { base }: Pick<DescribedColumn, 'base'>): string | null {
  const iso = new Date(ms).toISOString();
  if (iso.length !== 24) return null;
  const fraction = ms % 1000 === 0 ? '' : iso.slice(19, 23).replace(/0+$/, '');
  return `${iso.slice(0, DATE)} ${iso.slice(DATE + 1, 19)}${fraction}${base === 'timestamptz' ? '+00' : ''}`;
}

/** `2026-03-02T10:05:00Z`; that its parts are digits was seen when it was read. */
const isPlainInstant = (bytes: Buffer, from: number, to: number): boolean =>
  to - from === INSTANT && bytes[from + 4] === MINUS && bytes[from + 7] === MINUS && bytes[from + DATE] === T && bytes[from + 13] === COLON && bytes[from + 16] === COLON && bytes[from + 19] === Z;

/** Decimals of a column that keeps a number of digits behind the point have so many. */
function padded(scale: number, target: Buffer, from: number, to: number): number {
  let point = from;
  while (point < to && target[point] !== POINT) point += 1;
  let end = to;
  if (point === to) target[end++] = POINT;
  while (end - point - 1 < scale) target[end++] = ZERO;
  return end;
}
