import { CsvError, parse, type Parser } from 'csv-parse';

import { BulkFileError } from './errors.ts';

/** One line of a bulk file that the CSV reader could not take. */
export type BadLine = { readonly line: number; readonly cause: string };

// A cell holds 50,000 characters at most and a row 200 cells; a quote that is never closed must not eat the file.
const MAX_ROW_BYTES = 16_000_000;
const BATCH = 500;
/** The longest that decides what a byte is: a closing quote and CRLF. */
const LOOK_AHEAD_BYTES = 4;
const OTHER_WIDTH = 'CSV_RECORD_INCONSISTENT_FIELDS_LENGTH';
/** What a decoder puts in the place of bytes that are not UTF-8. */
const REPLACEMENT = '\uFFFD';

export type ReadRowsOptions = {
  /** False where some byte of the file is not UTF-8: then a row that looks like it is named and left out. */
  readonly isUtf8?: boolean;
};

/**
 * The rows of a bulk CSV, in batches, as arrays of cells; the first row is the header. Strict: a row with another number of
 * cells than the header is reported, not guessed at. Quoted line breaks, BOM, LF and CRLF are taken.
 * @throws {BulkFileError} `BULK_FILE_DAMAGED`; for wrong quotes, too: after them nothing is certain.
 */
export async function* readRows(csv: NodeJS.ReadableStream, onBadLine: (bad: BadLine) => void, { isUtf8 = true }: ReadRowsOptions = {}): AsyncGenerator<string[][]> {
  let fatal: unknown;
  const parser = parse({
    bom: true,
    max_record_size: MAX_ROW_BYTES,
    // Of all errors only a row of another width leaves the parser where the next row begins.
    skip_records_with_error: true,
    on_skip: (error) => {
      if (error instanceof CsvError && error.code === OTHER_WIDTH) onBadLine({ line: Number(error['lines'] ?? 0), cause: error.code });
      else fatal ??= error;
    },
  });
  const isReadable = (row: readonly string[]): boolean => {
    if (isUtf8 || !row.some((cell) => cell.includes(REPLACEMENT))) return true;
    onBadLine({ line: parser.info.lines, cause: 'BYTES_NOT_UTF8' });
    return false;
  };
  lookAheadFixed(parser);
  csv.on('error', (cause) => parser.destroy(cause));
  // It may come while the caller is busy with a batch; it is thrown once the caller asks for more.
  parser.on('error', () => undefined);
  csv.pipe(parser);
  try {
    let batch = take(parser);
    while (batch.length > 0 || !parser.readableEnded) {
      if (parser.errored !== null) throw parser.errored;
      if (fatal !== undefined) throw fatal;
      if (batch.length > 0) yield isUtf8 ? batch : batch.filter(isReadable);
      else await moreOrEnd(parser);
      batch = take(parser);
    }
    if (fatal !== undefined) throw fatal;
  } catch (cause) {
    throw new BulkFileError('the CSV cannot be read to its end', 'BULK_FILE_DAMAGED', { cause });
  } finally {
    parser.destroy();
  }
}

/**
 * csv-parse asks before each byte whether enough follow to decide what it is, and works out again how many that are: a seventh of the time of unzipping
 * and parsing. A fixed number that is never too small answers faster; the bytes it waits for come with the next chunk.
 */
function lookAheadFixed(parser: Parser): void {
  const { api } = parser as unknown as { api: object };
  Object.assign(api, { __needMoreData: (at: number, length: number, isEnd: boolean) => !isEnd && length - at <= LOOK_AHEAD_BYTES });
}

/** Waits for rows or the end, and leaves no listener behind. */
async function moreOrEnd(parser: Parser): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  parser.on('readable', resolve).on('end', resolve).on('error', reject);
  try {
    await promise;
  } finally {
    parser.off('readable', resolve).off('end', resolve).off('error', reject);
  }
}

// `for await` costs a promise a row; what is there is taken at once.
function take(parser: Parser): string[][] {
  const rows: string[][] = [];
  while (rows.length < BATCH) {
    const row = parser.read() as string[] | null;
    if (row === null) break;
    rows.push(row);
  }
  return rows;
}
