/**
 * What a column holds unchanged. Postgres rounds, cuts, pads and interprets some texts without an error: `10.125` in numeric(16,2),
 * `0x1F` in an integer, `now` in a date, trailing blanks beyond the length of a varchar. Such a value is found here, before it is sent.
 */
export type CellRule = {
  /** Goes into the cause of a value that is kept aside. */
  readonly column: string;
  readonly form: 'boolean' | 'integer' | 'decimal' | 'date' | 'instant' | 'utc' | 'uuid' | 'varchar' | 'bytes' | 'char' | 'words';
  /** Whether nothing but blanks at the end of a text can be changed. */
  readonly isPadding?: boolean;
  /** Digits after the point (negative: zeros before it), or characters; Infinity where the type sets none. */
  readonly limit: number;
};

const [SPACE, MINUS, POINT, ZERO, NINE, BACKSLASH] = [0x20, 0x2d, 0x2e, 0x30, 0x39, 0x5c];
const [COLON, T, Z] = [0x3a, 0x54, 0x5a];

/**
 * Whether Postgres would store a text as it stands. What it refuses anyway may be either.
 * @param bytes COPY text, the cell from `from` up to `to`.
 */
export function isExact({ form, limit }: CellRule, bytes: Buffer, from: number, to: number): boolean {
  switch (form) {
    case 'integer':
      return isDecimal(bytes, from, to, 0);
    case 'decimal':
      return isDecimal(bytes, from, to, limit);
    case 'varchar':
      return bytes[to - 1] !== SPACE || to - from <= limit || characters(bytes, from, to) <= limit;
    case 'bytes':
      return bytes[to - 1] !== SPACE || to - from - escapes(bytes, from, to) <= limit;
    case 'char':
      return bytes[to - 1] !== SPACE;
    case 'date':
      return (to - from === 10 && isUsualDate(bytes, from)) || date.test(bytes.toString('latin1', from, to));
    case 'instant':
      return isUsualInstant(bytes, from, to) || isInstant(bytes.toString('latin1', from, to), limit, instant);
    case 'utc':
      return isUsualInstant(bytes, from, to) || isInstant(bytes.toString('latin1', from, to), limit, utcInstant);
    case 'uuid':
      return uuid.test(bytes.toString('latin1', from, to));
    case 'boolean':
      return boolean.test(bytes.toString('latin1', from, to));
    case 'words':
      return boolean.test(bytes.toString('latin1', from, to));
  }
}

// A year of more than four digits has no leading zero: Postgres would drop it.
const date = /^(?:\d{4}|[1-9]\d{4,5})-\d\d-\d\d$/;
const instant = /^(?:\d{4}|[1-9]\d{4,5})-\d\d-\d\d[T ](?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.(\d{1,6}))?(?:Z|[+-]\d\d(?::?\d\d)?)(?: BC)?$/;
const utcInstant = /^(?:\d{4}|[1-9]\d{4,5})-\d\d-\d\d[T ](?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.(\d{1,6}))?Z(?: BC)?$/;
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const boolean = /^(?:true|false)$/;

// The canonical forms, found without making a string of each: every row has several.

/** Two digits as a number; NaN for anything else. */
function pair(bytes: Buffer, at: number): number {
  const tens = bytes[at] as number;
  const ones = bytes[at + 1] as number;
  return tens >= ZERO && tens <= NINE && ones >= ZERO && ones <= NINE ? (tens - ZERO) * 10 + ones - ZERO : Number.NaN;
}

/** `2026-03-02`, wherever it ends. */
const isUsualDate = (bytes: Buffer, at: number): boolean =>
  pair(bytes, at) >= 0 && pair(bytes, at + 2) >= 0 && bytes[at + 4] === MINUS && pair(bytes, at + 5) >= 0 && bytes[at + 7] === MINUS && pair(bytes, at + 8) >= 0;

/** `2026-03-02T10:05:00Z`. */
const isUsualInstant = (bytes: Buffer, from: number, to: number): boolean =>
  to - from === 20 && bytes[from + 10] === T && bytes[from + 13] === COLON && bytes[from + 16] === COLON && bytes[from + 19] === Z
  && isUsualDate(bytes, from) && pair(bytes, from + 11) < 24 && pair(bytes, from + 14) < 60 && pair(bytes, from + 17) < 60;

function isInstant(text: string, digits: number, form: RegExp): boolean {
  const match = form.exec(text);
  return match !== null && (match[1] === undefined || match[1].length <= digits);
}

/** Plain digits with at most so many after the point: no exponent, no sign but `-`, no leading zero, no `-0`. */
function isDecimal(bytes: Buffer, from: number, to: number, limit: number): boolean {
  const start = bytes[from] === MINUS ? from + 1 : from;
  let point = to;
  for (let at = start; at < to; at += 1) {
    const byte = bytes[at] as number;
    if (byte >= ZERO && byte <= NINE) continue;
    if (byte !== POINT || point !== to || at === start) return false;
    point = at;
  }
  if (point === start || point === to - 1) return false;
  if (bytes[start] === ZERO && (point > start + 1 || (start > from && to === start + 1))) return false;
  const digits = point === to ? 0 : to - point - 1;
  return limit >= 0 ? digits <= limit : digits === 0 && endsInZeros(bytes, start, to, -limit);
}

function endsInZeros(bytes: Buffer, from: number, to: number, count: number): boolean {
  if (to - from === 1 && bytes[from] === ZERO) return true;
  for (let at = to - 1; at >= to - count; at -= 1) if (at < from || bytes[at] !== ZERO) return false;
  return true;
}

/** Backslashes of COPY text that stand before what they escape. */
function escapes(bytes: Buffer, from: number, to: number): number {
  let count = 0;
  for (let at = from; at < to; at += 1) {
    if (bytes[at] !== BACKSLASH) continue;
    at += 1;
    count += 1;
  }
  return count;
}

/** Characters of UTF-8 in COPY text, where a backslash and what follows are one. */
function characters(bytes: Buffer, from: number, to: number): number {
  let count = 0;
  for (let at = from; at < to; at += 1) {
    const byte = bytes[at] as number;
    if (byte === BACKSLASH) at += 1;
    if ((byte & 0xc0) !== 0x80) count += 1;
  }
  return count;
}
