import type { Version } from './version.ts';

/** What the head of a `RecordSeen` or `RecordRepaired` says, and where its fields begin. */
export type SeenHead = Version & { readonly id: string; readonly coverage: string; /** Offset of the `[` of the fields, in bytes. */ readonly fieldsAt: number };

// A head is at most 190 bytes: 19 digits of id, two times of up to 16 characters, 32 of hash, 8 of coverage. A repair's has one time more.
const HEAD_BYTES = 200;
const REPAIRED_HEAD_BYTES = 230;
const seen = /^\{"v":1,"type":"seen","id":"([1-9]\d{0,18})","m":(-?\d{1,15}),"o":(-?\d{1,15}),"hash":"([0-9a-f]{32})","coverage":"([0-9a-f]{8})","fields":\[/;

/**
 * Reads a `RecordSeen`'s head without looking at its fields (0.7 µs, against 9 µs for parsing the event).
 * @returns null for any other event and for anything unexpected: take `decodeEvent`, which says what it is.
 */
export function readSeenHead(value: Buffer): SeenHead | null {
  if (!isEnded(value)) return null;
  const match = seen.exec(value.toString('latin1', 0, HEAD_BYTES));
  if (match === null) return null;
  const [text, id = '', modified, observed, hash = '', coverage = ''] = match;
  return { id, modifiedMs: Number(modified), observedMs: Number(observed), hash, coverage, fieldsAt: text.length - 1 };
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
