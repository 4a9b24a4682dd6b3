import { CsvError, parse, type Parser } from 'csv-parse';

import { BulkFileError } from './errors.ts';

/** One line of a bulk file that the CSV reader could not take. */
export type BadLine = { readonly line: number; readonly cause: string };

// A cell holds 50,000 characters at most and a row 200 cells; a quote that is never closed must not eat the file.
const MAX_ROW_BYTES = 16_000_000;
const BATCH = 500;
/** The longest that decides what a byte is: a closing quote and CRLF, six bytes in UTF-16. */
const LOOK_AHEAD_BYTES = 8;

/**
 * The rows of a bulk CSV, in batches, as arrays of cells; the first row is the header. Strict: a row with another number of
 * cells than the header is reported, not guessed at. Quoted line breaks, BOM, LF and CRLF are taken.
 */
export async function* readRows(csv: NodeJS.ReadableStream, onBadLine: (bad: BadLine) => void): AsyncGenerator<string[][]> {
  const parser = parse({
    bom: true,
    max_record_size: MAX_ROW_BYTES,
    skip_records_with_error: true,
    on_skip: (error) => {
      if (error instanceof CsvError) onBadLine({ line: Number(error['lines'] ?? 0), cause: error.code });
    },
  });
  lookAheadFixed(parser);
  csv.on('error', (cause) => parser.destroy(cause));
  // It may come while the caller is busy with a batch; it is thrown once the caller asks for more.
  parser.on('error', () => undefined);
  csv.pipe(parser);
  try {
    let batch = take(parser);
    while (batch.length > 0 || !parser.readableEnded) {
      if (parser.errored !== null) throw parser.errored;
      if (batch.length > 0) yield batch;
      else await moreOrEnd(parser);
      batch = take(parser);
    }
  } catch (cause) {
    throw new BulkFileError('the CSV cannot be read to its end', 'BULK_FILE_DAMAGED', { cause });
  } finally {
    parser.destroy();
  }
}

/**
 * csv-parse asks before each byte whether enough follow to tell what it is, and works out anew how many that are: a seventh of the time of unzipping
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
