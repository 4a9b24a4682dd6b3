/**
 * A bulk result that cannot be taken as it is. Nothing of a damaged file is published.
 * - `BULK_FILE_DAMAGED`: no ZIP of one file, or its size or CRC is wrong. It is asked for anew.
 * - `BULK_FILE_SUSPICIOUS`: it would unpack to far more than a bulk result can be. Look at where it came from.
 * - `BULK_COLUMNS_MISSING`: the header lacks mapped fields. Map only fields that the CRM exports to the token's user.
 * - `BULK_ROWS_MALFORMED`: more than 1 % of the rows have no id, no `Modified_Time`, or a wrong number of cells.
 * - `BULK_ROWS_MISSING`: the file has fewer rows than the job's status promised. It is asked for anew.
 */
export class BulkFileError extends Error {
  readonly code: BulkFileErrorCode;
  /** Whether a new download may be better. */
  readonly retryable: boolean;

  constructor(message: string, code: BulkFileErrorCode, options?: ErrorOptions) {
    super(message, options);
    this.name = 'BulkFileError';
    this.code = code;
    this.retryable = code === 'BULK_FILE_DAMAGED' || code === 'BULK_ROWS_MISSING';
  }
}

export type BulkFileErrorCode = 'BULK_FILE_DAMAGED' | 'BULK_FILE_SUSPICIOUS' | 'BULK_COLUMNS_MISSING' | 'BULK_ROWS_MALFORMED' | 'BULK_ROWS_MISSING';
