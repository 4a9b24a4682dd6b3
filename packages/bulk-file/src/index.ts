export { BulkFileError } from './errors.ts';
export type { BulkFileErrorCode } from './errors.ts';
export { readRows } from './read-rows.ts';
export type { BadLine, ReadRowsOptions } from './read-rows.ts';
export { rowReader } from './row-reader.ts';
export type { ReadRow, RowReaderOptions } from './row-reader.ts';
export { openBulkZip } from './zip-entry.ts';
export type { ZipEntry } from './zip-entry.ts';
