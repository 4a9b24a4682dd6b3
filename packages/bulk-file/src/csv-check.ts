import { isUtf8 } from 'node:buffer';

import { BulkFileError } from './errors.ts';

/** What a look at all bytes of a CSV found. `rows` counts the header; `isUtf8` is false where some byte is not. */
export type CheckedCsv = { readonly rows: number; readonly isUtf8: boolean };

const [QUOTE, COMMA, LF, CR] = [0x22, 0x2c, 0x0a, 0x0d] as const;
const UTF8_MARK = Buffer.from([0xef, 0xbb, 0xbf]);
const UTF16_MARKS = [Buffer.from([0xff, 0xfe]), Buffer.from([0xfe, 0xff])];

/**
 * Checks the structure of a whole CSV before its first row is published: a parser that meets a wrong quote has guessed at rows before it, and may swallow rows
 * after it. Quotes stand around whole cells and are doubled inside; every line ends the same way; no carriage return stands alone. It goes from quote to quote,
 * which costs far less than reading rows.
 */
export class CsvCheck {
  #state: 'plain' | 'quoted' | 'after-quote' = 'plain';
  #rows = 0;
  #endsWithCr: boolean | undefined;
  #bytes = 0;
  #last: number = LF;
  #start: Buffer = Buffer.alloc(0);
  /** The beginning of a character whose end is yet to come. */
  #rest: Buffer = Buffer.alloc(0);
  #isUtf8 = true;
  /** In the chunk at hand. */
  #found = { [LF]: -1, [CR]: -1 };

  /** @throws {BulkFileError} `BULK_FILE_DAMAGED` */
  push(chunk: Buffer): void {
    if (this.#start.length < 3) this.#begin(chunk);
    this.#found = { [LF]: -1, [CR]: -1 };
    for (let at = 0; at < chunk.length;) at = this.#step(chunk, at);
    this.#checkText(chunk);
    this.#last = chunk.at(-1) ?? this.#last;
    this.#bytes += chunk.length;
  }

  /** @throws {BulkFileError} `BULK_FILE_DAMAGED` */
  end(): CheckedCsv {
    if (this.#state === 'quoted') throw damaged('a quote is never closed');
    if (this.#last === CR) throw damaged('it ends within a line end');
    const rows = this.#rows + (this.#last === LF ? 0 : 1);
    return { rows, isUtf8: this.#isUtf8 && this.#rest.length === 0 };
  }

  #begin(chunk: Buffer): void {
    this.#start = Buffer.concat([this.#start, chunk.subarray(0, 3)]).subarray(0, 3);
    if (UTF16_MARKS.some((mark) => mark.equals(this.#start.subarray(0, 2)))) throw damaged('it is in UTF-16; the CRM writes UTF-8');
  }

  #step(chunk: Buffer, at: number): number {
    if (this.#state === 'plain') return this.#plain(chunk, at);
    if (this.#state === 'quoted') {
      const quote = chunk.indexOf(QUOTE, at);
      if (quote < 0) return chunk.length;
      this.#state = 'after-quote';
      return quote + 1;
    }
    const byte = chunk[at] as number;
    if (byte === QUOTE) {
      this.#state = 'quoted';
      return at + 1;
    }
    if (byte !== COMMA && byte !== LF && byte !== CR) throw damaged(`text follows a closing quote in row ${this.#rows + 1}`);
    this.#state = 'plain';
    return at;
  }

  #plain(chunk: Buffer, at: number): number {
    const quote = chunk.indexOf(QUOTE, at);
    const end = quote < 0 ? chunk.length : quote;
    this.#checkLines(chunk, at, end);
    if (quote < 0) return end;
    const before = quote === 0 ? this.#last : chunk[quote - 1];
    const isAfterMark = this.#bytes + quote === UTF8_MARK.length && this.#start.equals(UTF8_MARK);
    if (before !== COMMA && before !== LF && !isAfterMark) throw damaged(`a quote stands within an unquoted cell in row ${this.#rows + 1}`);
    this.#state = 'quoted';
    return quote + 1;
  }

  /** Between quotes: lines are counted, and end as the first one does. */
  #checkLines(chunk: Buffer, from: number, to: number): void {
    if (from === 0 && this.#last === CR && chunk[0] !== LF) throw loneReturn(this.#rows);
    for (let lf = this.#next(LF, chunk, from); lf < to; lf = this.#next(LF, chunk, lf + 1)) {
      const isAfterCr = (lf === 0 ? this.#last : chunk[lf - 1]) === CR;
      this.#endsWithCr ??= isAfterCr;
      if (this.#endsWithCr !== isAfterCr) throw damaged(`row ${this.#rows + 1} does not end as the rows before it do`);
      this.#rows += 1;
    }
    for (let cr = this.#next(CR, chunk, from); cr < to; cr = this.#next(CR, chunk, cr + 1)) {
      if (cr + 1 < chunk.length && chunk[cr + 1] !== LF) throw loneReturn(this.#rows);
    }
  }

  /** Where the next one is; what was found beyond the quotes is not looked for again. */
  #next(byte: typeof LF | typeof CR, chunk: Buffer, from: number): number {
    if (this.#found[byte] >= from) return this.#found[byte];
    const at = chunk.indexOf(byte, from);
    this.#found[byte] = at < 0 ? Number.POSITIVE_INFINITY : at;
    return this.#found[byte];
  }

  #checkText(chunk: Buffer): void {
    if (!this.#isUtf8) return;
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const end = wholeCharacters(bytes);
    this.#isUtf8 = isUtf8(bytes.subarray(0, end));
    this.#rest = Buffer.from(bytes.subarray(end));
  }
}

/** Where the last character begins that may go on beyond the end; the end where none does. */
function wholeCharacters(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back += 1) {
    const byte = bytes[bytes.length - back] as number;
    if (byte < 0x80) return bytes.length;
    if (byte >= 0xc0) return byte >= (back === 1 ? 0xc0 : back === 2 ? 0xe0 : 0xf0) ? bytes.length - back : bytes.length;
  }
  return bytes.length;
}

const damaged = (what: string): BulkFileError => new BulkFileError(`the CSV is damaged: ${what}`, 'BULK_FILE_DAMAGED');
const loneReturn = (rows: number): BulkFileError => damaged(`a carriage return stands alone in row ${rows + 1}`);
