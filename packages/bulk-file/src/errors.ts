/**
 * A bulk result that cannot be taken as it is. Nothing of a damaged file is published.
 * - `BULK_FILE_DAMAGED`: no ZIP of one file, its size or CRC is wrong, or it is no CSV: a quote within an unquoted cell, text after a closing quote, a quote that
 *   is never closed, mixed line ends, UTF-16. It is requested again.
 * - `BULK_FILE_SUSPICIOUS`: it would unpack to far more than a bulk result can be. Look at where it came from.
 * - `BULK_COLUMNS_MISSING`: the header lacks mapped fields. Map only fields that the CRM exports to the token's user.
 * - `BULK_COLUMNS_AMBIGUOUS`: a column that is read comes twice. Report it: neither can be known to hold the value.
 * - `BULK_ROWS_MALFORMED`: more than a handful of rows (10, or one in a thousand), or all of them, have no id, no `Modified_Time`, a wrong number of cells or
 *   bytes that are not UTF-8. It is requested again; see the dead letters of the last attempt that was taken.
 * - `BULK_CHAIN_ENDLESS`: the pages of a run name each other in a circle, or do not end. Report it; start the run again.
 * - `BULK_ROWS_MISMATCH`: the file has not as many rows as the job's status promised. It is requested again.
 */
export class BulkFileError extends Error {
  readonly code: BulkFileErrorCode;
  /** Whether a new download may be better. */
  readonly retryable: boolean;

  constructor(message: string, code: BulkFileErrorCode, options?: ErrorOptions) {
    super(message, options);
    this.name = 'BulkFileError';
    this.code = code;
    this.retryable = code === 'BULK_FILE_DAMAGED' || code === 'BULK_ROWS_MALFORMED' || code === 'BULK_ROWS_MISMATCH';
  }
}

export type BulkFileErrorCode = 'BULK_FILE_DAMAGED' | 'BULK_FILE_SUSPICIOUS' | 'BULK_COLUMNS_MISSING' | 'BULK_COLUMNS_AMBIGUOUS' | 'BULK_ROWS_MALFORMED' | 'BULK_ROWS_MISMATCH' | 'BULK_CHAIN_ENDLESS';
