import { ProjectionError } from './errors.ts';
import { type CellRule, isExact } from './exact-value.ts';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const CLOSE = 0x5d;
const END = 0x7d;
const TAB = 0x09;
const SPACE = 0x20;
const [N, T, F, U] = [0x6e, 0x74, 0x66, 0x75];

/**
 * Writes the fields of an event as COPY text, byte by byte, without building a value: JSON and COPY escape alike, but for
 * quotes, slashes and `\u`. The text is never longer than the JSON it comes from.
 *
 * @param json the message, which ends behind its fields; `at` is the offset of their `[`.
 * @param keep one entry per field of the coverage: whether it is mapped to a column. Unmapped fields are skipped.
 * @param rules one entry per field of the coverage, where its column does not hold every text as it stands.
 * @param target receives, for each kept field, a tab and its text; it has room for the rest of `json` from `at`.
 * @param columns one entry per field of the coverage: the column to be named in the cause of a text that cannot be stored.
 * @returns where the text ends in `target`.
 * @throws {ProjectionError} `EVENT_FIELDS_MALFORMED` when the fields are not a flat JSON array of `keep.length` strings,
 *   booleans and nulls, or when anything stands behind the event; `VALUE_NOT_STORABLE` for what no Postgres text can hold (U+0000, half a
 *   surrogate pair) in a kept field; `VALUE_NOT_EXACT` for what the column would change in silence.
 */
export function writeCopyFields(json: Buffer, at: number, keep: readonly boolean[], target: Buffer, to: number, rules: CellRules = noRules, columns: readonly (string | undefined)[] = []): number {
  let pos = at + 1;
  let out = to;
  for (let field = 0; field < keep.length; field += 1) {
    const start = out;
    target[out++] = TAB;
    const first = json[pos];
    if (first === QUOTE) {
      pos += 1;
      for (;;) {
        let byte = json[pos++] as number;
        // Behind the end there is no byte, which is no text either.
        while (byte >= SPACE && byte !== QUOTE && byte !== BACKSLASH) {
          target[out++] = byte;
          byte = json[pos++] as number;
        }
        if (byte === QUOTE) break;
        if (byte !== BACKSLASH) throw malformed(field);
        const escaped = json[pos++];
        if (escaped === QUOTE || escaped === 0x2f) {
          target[out++] = escaped;
        } else if (escaped === U) {
          const end = writeCodePoint(json, pos, target, out, keep[field] === true ? (columns[field] ?? `field ${field}`) : undefined);
          pos = end.pos;
          out = end.out;
        } else if (escaped === BACKSLASH || escaped === N || escaped === T || escaped === 0x72 || escaped === F || escaped === 0x62) {
          target[out++] = BACKSLASH;
          target[out++] = escaped;
        } else {
          throw malformed(field);
        }
      }
      const rule = rules[field];
      if (rule !== undefined && (!rule.isPadding || target[out - 1] === SPACE) && !isExact(rule, target, start + 1, out)) throw notExact(rule);
    } else if (first === N && json[pos + 1] === U && json[pos + 2] === 0x6c && json[pos + 3] === 0x6c) {
      pos += 4;
      target[out++] = BACKSLASH;
      target[out++] = 0x4e;
    } else if (first === T && json[pos + 1] === 0x72 && json[pos + 2] === U && json[pos + 3] === 0x65) {
      pos += 4;
      out = rules[field]?.form === 'words' ? out + target.write('true', out, 'latin1') : writeByte(target, out, T);
    } else if (first === F && json[pos + 1] === 0x61 && json[pos + 2] === 0x6c && json[pos + 3] === 0x73 && json[pos + 4] === 0x65) {
      pos += 5;
      out = rules[field]?.form === 'words' ? out + target.write('false', out, 'latin1') : writeByte(target, out, F);
    } else {
      throw malformed(field);
    }
    if (keep[field] !== true) out = start;
    if (json[pos++] !== (field === keep.length - 1 ? CLOSE : COMMA)) throw malformed(field);
  }
  if (json[pos] !== END || json.length !== pos + 1) throw new ProjectionError('the message does not end where its event does', 'EVENT_FIELDS_MALFORMED');
  return out;
}

/** For each field, what its column holds unchanged; undefined where that is every text. */
export type CellRules = readonly (CellRule | undefined)[];
const noRules: CellRules = [];

function writeByte(target: Buffer, at: number, byte: number): number {
  target[at] = byte;
  return at + 1;
}

const notExact = ({ column }: CellRule): ProjectionError => new ProjectionError(`${column}: the column would hold another value than the CRM's`, 'VALUE_NOT_EXACT');

const malformed = (field: number): ProjectionError => new ProjectionError(`field ${field} is not what its coverage promises`, 'EVENT_FIELDS_MALFORMED');

/**
 * The code point of a `\u` escape, as UTF-8; what stands escaped in our JSON is control characters and broken surrogates.
 * @param name what to call the field in a cause; undefined where it is passed over.
 */
function writeCodePoint(json: Buffer, at: number, target: Buffer, to: number, name: string | undefined): { pos: number; out: number } {
  const unit = unitAt(json, at);
  const isHigh = unit >= 0xd800 && unit <= 0xdbff;
  const low = isHigh && json[at + 4] === BACKSLASH && json[at + 5] === U ? unitAt(json, at + 6) : 0;
  const isPair = low >= 0xdc00 && low <= 0xdfff;
  if (name !== undefined && (unit === 0 || (unit >= 0xd800 && unit <= 0xdfff && !isPair))) {
    throw new ProjectionError(`${name}: the text holds U+${unit.toString(16).padStart(4, '0')}, which Postgres cannot store`, 'VALUE_NOT_STORABLE');
  }
  // Tab, line feed, carriage return and backslash mean something in COPY text even when JSON had them as \u.
  const text = isPair ? String.fromCharCode(unit, low) : (copyEscape[unit] ?? String.fromCharCode(unit));
  return { pos: at + (isPair ? 10 : 4), out: to + target.write(text, to, 'utf8') };
}

const copyEscape: Readonly<Record<number, string>> = { 0x09: '\\t', 0x0a: '\\n', 0x0d: '\\r', 0x5c: '\\\\' };

function unitAt(json: Buffer, at: number): number {
  const hex = json.toString('latin1', at, at + 4);
  if (!/^[0-9a-fA-F]{4}$/.test(hex)) throw new ProjectionError('a text has a broken \\u escape', 'EVENT_FIELDS_MALFORMED');
  return Number.parseInt(hex, 16);
}
