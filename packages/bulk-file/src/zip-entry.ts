import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { crc32 } from 'node:zlib';

import unzipper from 'unzipper';

import { BulkFileError } from './errors.ts';

/** The one file of a bulk result, checked. */
export type ZipEntry = { readonly name: string; readonly bytes: number; open(): NodeJS.ReadableStream };

// 200,000 rows of 200 fields of 500 characters are 20 GB; a row of CSV packs 10 to 30 times.
const MAX_BYTES = 20_000_000_000;
const MAX_RATIO = 200;
const SMALL_BYTES = 10_000_000;

/**
 * Opens a bulk result and reads it once to its end to check size and CRC, which unzipper does not: only then may any row of
 * it be published.
 * @throws {BulkFileError} `BULK_FILE_DAMAGED`, `BULK_FILE_SUSPICIOUS`
 */
export async function openBulkZip(file: string): Promise<ZipEntry> {
  const entry = await onlyEntry(file);
  const { path: name, uncompressedSize: bytes, compressedSize } = entry;
  if (bytes > MAX_BYTES || (bytes > SMALL_BYTES && bytes > compressedSize * MAX_RATIO)) {
    throw new BulkFileError(`${name} would unpack from ${compressedSize} to ${bytes} bytes`, 'BULK_FILE_SUSPICIOUS');
  }
  await verify(entry);
  return { name, bytes, open: () => entry.stream() };
}

async function onlyEntry(file: string): Promise<unzipper.File> {
  const directory = await unzipper.Open.file(file).catch((cause: unknown) => {
    throw new BulkFileError('the result is no ZIP, or was cut', 'BULK_FILE_DAMAGED', { cause });
  });
  const files = directory.files.filter(({ type }) => type === 'File');
  const [only] = files;
  if (only === undefined || files.length > 1) throw new BulkFileError(`the result holds ${files.length} files instead of one`, 'BULK_FILE_DAMAGED');
  return only;
}

async function verify(entry: unzipper.File): Promise<void> {
  let crc = 0;
  let bytes = 0;
  const check = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      crc = crc32(chunk, crc);
      done(bytes > entry.uncompressedSize ? new Error('more bytes than the directory says') : null);
    },
  });
  try {
    await pipeline(entry.stream(), check.resume());
  } catch (cause) {
    throw new BulkFileError(`${entry.path} cannot be unpacked`, 'BULK_FILE_DAMAGED', { cause });
  }
  if (bytes !== entry.uncompressedSize || crc !== entry.crc32) {
    throw new BulkFileError(`${entry.path} has ${bytes} bytes with CRC ${crc.toString(16)}; its directory says ${entry.uncompressedSize} with ${entry.crc32.toString(16)}`, 'BULK_FILE_DAMAGED');
  }
}
