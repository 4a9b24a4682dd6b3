import type { Version } from './version.ts';

/** What the head of a `RecordSeen` or `RecordRepaired` says, and where its fields begin. */
export type SeenHead = Version & { readonly id: string; readonly coverage: string; /** Offset of the `[` of the fields, in bytes. */ readonly fieldsAt: number };

// A repair's head is at most 220 bytes: 19 digits of id, three times of up to 16 characters, 32 of hash, 8 of coverage.
const REPAIRED_HEAD_BYTES = 230;
const [MINUS, ZERO, NINE, A, F] = [0x2d, 0x30, 0x39, 0x61, 0x66];
const bytesOf = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'latin1'));
const beforeId = bytesOf('{"v":1,"type":"seen","id":"');
const beforeModified = bytesOf('","m":');
const beforeObserved = bytesOf(',"o":');
const beforeHash = bytesOf(',"hash":"');
const beforeCoverage = bytesOf('","coverage":"');
const beforeFields = bytesOf('","fields":[');
const [ID_DIGITS, TIME_DIGITS, HASH_DIGITS, COVERAGE_DIGITS] = [19, 15, 32, 8];

/**
 * Reads a `RecordSeen`'s head without looking at its fields (0.5 µs, against 9 µs for parsing the event): byte by byte, as a regular expression needs the
 * head as a text first, which takes as long again, and lives for as long as one of its parts.
 * @returns null for any other event and for anything unexpected: take `decodeEvent`, which says what it is.
 */
export function readSeenHead(value: Buffer): SeenHead | null {
  if (!isEnded(value) || !stands(value, 0, beforeId)) return null;
  const idAt = beforeId.length;
  const idEnd = digitsEnd(value, idAt, ID_DIGITS);
  if (idEnd === idAt || value[idAt] === ZERO || !stands(value, idEnd, beforeModified)) return null;
  const modifiedAt = idEnd + beforeModified.length;
  const modifiedEnd = timeEnd(value, modifiedAt);
  if (modifiedEnd === null || !stands(value, modifiedEnd, beforeObserved)) return null;
  const observedAt = modifiedEnd + beforeObserved.length;
  const observedEnd = timeEnd(value, observedAt);
  if (observedEnd === null || !stands(value, observedEnd, beforeHash)) return null;
  const hashAt = observedEnd + beforeHash.length;
  const coverageAt = hashAt + HASH_DIGITS + beforeCoverage.length;
  const coverageEnd = coverageAt + COVERAGE_DIGITS;
  if (!isHex(value, hashAt, hashAt + HASH_DIGITS) || !stands(value, hashAt + HASH_DIGITS, beforeCoverage)) return null;
  if (!isHex(value, coverageAt, coverageEnd) || !stands(value, coverageEnd, beforeFields)) return null;
  return {
    id: value.toString('latin1', idAt, idEnd),
    modifiedMs: timeOf(value, modifiedAt, modifiedEnd),
    observedMs: timeOf(value, observedAt, observedEnd),
    hash: value.toString('latin1', hashAt, hashAt + HASH_DIGITS),
    coverage: value.toString('latin1', coverageAt, coverageEnd),
    fieldsAt: coverageEnd + beforeFields.length - 1,
  };
}

function stands(value: Buffer, at: number, bytes: Uint8Array): boolean {
  for (let i = 0; i < bytes.length; i += 1) if (value[at + i] !== bytes[i]) return false;
  return true;
}

function digitsEnd(value: Buffer, at: number, most: number): number {
  let end = at;
  while (end - at < most && isDigit(value[end] as number)) end += 1;
  return end;
}

/** Where a time's digits end, which may be negative; null where there are none. */
function timeEnd(value: Buffer, at: number): number | null {
  const start = value[at] === MINUS ? at + 1 : at;
  const end = digitsEnd(value, start, TIME_DIGITS);
  return end === start ? null : end;
}

function timeOf(value: Buffer, at: number, end: number): number {
  const isNegative = value[at] === MINUS;
  let time = 0;
  for (let i = isNegative ? at + 1 : at; i < end; i += 1) time = time * 10 + (value[i] as number) - ZERO;
  return isNegative ? -time : time;
}

const isDigit = (byte: number): boolean => byte >= ZERO && byte <= NINE;

function isHex(value: Buffer, at: number, end: number): boolean {
  for (let i = at; i < end; i += 1) {
    const byte = value[i] as number;
    if (!isDigit(byte) && !(byte >= A && byte <= F)) return false;
  }
  return true;
}

const repaired = /^\{"v":2,"type":"repaired","id":"([1-9]\d{0,18})","m":(-?\d{1,15}),"o":(-?\d{1,15}),"hash":"([0-9a-f]{32})","t":(-?\d{1,15}),"coverage":"([0-9a-f]{8})","fields":\[/;

/** Reads a `RecordRepaired`'s head; null for any other event. */
export function readRepairedHead(value: Buffer): (SeenHead & { readonly versionMs: number }) | null {
  if (!isEnded(value)) return null;
  const match = repaired.exec(value.toString('latin1', 0, REPAIRED_HEAD_BYTES));
  if (match === null) return null;
  const [text, id = '', modified, observed, hash = '', version, coverage = ''] = match;
  return { id, modifiedMs: Number(modified), versionMs: Number(version), observedMs: Number(observed), hash, coverage, fieldsAt: text.length - 1 };
}

const [CLOSE, END] = [0x5d, 0x7d];

/** Whether a message ends as fields do: nothing may stand behind an event. */
const isEnded = (value: Buffer): boolean => value[value.length - 1] === END && value[value.length - 2] === CLOSE;
