import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { PassThrough, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { crc32, createInflateRaw } from 'node:zlib';

import unzipper from 'unzipper';

import { type CheckedCsv, CsvCheck } from './csv-check.ts';
import { BulkFileError } from './errors.ts';

/** The one file of a bulk result, checked. */
export type ZipEntry = CheckedCsv & { readonly name: string; readonly bytes: number; open(): NodeJS.ReadableStream };

// 200,000 rows of 200 fields of 500 characters are 20 GB; a row of CSV packs 10 to 30 times.
const MAX_BYTES = 20_000_000_000;
const MAX_RATIO = 200;
const SMALL_BYTES = 10_000_000;
// unzipper inflates 16 KB at a time, each of which costs about 0.1 ms of the main thread; far more at once fills the young heap.
const CHUNK_BYTES = 64 * 1024;

/**
 * Opens a bulk result and reads it once to its end to check size and CRC, which unzipper does not, and the structure of the CSV: only then may any row
 * of it be published.
 * @throws {BulkFileError} `BULK_FILE_DAMAGED`, `BULK_FILE_SUSPICIOUS`
 */
export async function openBulkZip(file: string): Promise<ZipEntry> {
  const entry = await onlyEntry(file);
  const { path: name, uncompressedSize: bytes, compressedSize } = entry;
  if (bytes > MAX_BYTES || (bytes > SMALL_BYTES && bytes > compressedSize * MAX_RATIO)) {
    throw new BulkFileError(`${name} would unpack from ${compressedSize} to ${bytes} bytes`, 'BULK_FILE_SUSPICIOUS');
  }
  const start = await dataStart(file, entry);
  const unpacked = (): Unpacked => unpack(file, entry, start);
  return { name, bytes, open: unpacked, ...(await verify(entry, unpacked())) };
}

async function onlyEntry(file: string): Promise<unzipper.File> {
  const directory = await unzipper.Open.file(file).catch((cause: unknown) => {
    throw new BulkFileError('the result is no ZIP, or was cut', 'BULK_FILE_DAMAGED', { cause });
  });
  // A directory that counts fewer entries than it has would let a file go unread.
  const listed = directory.files.reduce((sum, { fileNameLength, extraFieldLength, fileCommentLength }) => sum + DIRECTORY_HEADER_BYTES + fileNameLength + extraFieldLength + fileCommentLength, 0);
  if (directory.sizeOfCentralDirectory !== listed) throw new BulkFileError('the directory of the result has another size than its entries', 'BULK_FILE_DAMAGED');
  const files = directory.files.filter(({ type }) => type === 'File');
  const [only] = files;
  if (only === undefined || files.length > 1) throw new BulkFileError(`the result holds ${files.length} files instead of one`, 'BULK_FILE_DAMAGED');
  if (only.flags & 1 || (only.compressionMethod !== 0 && only.compressionMethod !== 8)) throw new BulkFileError(`${only.path} is encrypted, or packed by a method other than deflate`, 'BULK_FILE_DAMAGED');
  return only;
}

type Unpacked = NodeJS.ReadableStream & { readonly bytesWritten?: number };

const DIRECTORY_HEADER_BYTES = 46;
const LOCAL_HEADER_BYTES = 30;
const LOCAL_HEADER_SIGNATURE = 0x04034b50;

/** Where the entry's bytes begin: behind its local header, whose name and extra field have lengths of their own. */
async function dataStart(file: string, { offsetToLocalFileHeader, path }: unzipper.File): Promise<number> {
  const handle = await open(file);
  try {
    const header = Buffer.alloc(LOCAL_HEADER_BYTES);
    await handle.read(header, 0, LOCAL_HEADER_BYTES, offsetToLocalFileHeader);
    if (header.readUInt32LE(0) !== LOCAL_HEADER_SIGNATURE) throw new BulkFileError(`${path} is not where the directory says`, 'BULK_FILE_DAMAGED');
    return offsetToLocalFileHeader + LOCAL_HEADER_BYTES + header.readUInt16LE(26) + header.readUInt16LE(28);
  } finally {
    await handle.close();
  }
}

/** The unpacked bytes; `bytesWritten` says how many packed ones they were made of. */
function unpack(file: string, { compressedSize, compressionMethod }: unzipper.File, start: number): Unpacked {
  const inflater = compressionMethod === 0 ? new PassThrough() : createInflateRaw({ chunkSize: CHUNK_BYTES });
  if (compressedSize === 0) return inflater.end();
  const packed = createReadStream(file, { start, end: start + compressedSize - 1, highWaterMark: CHUNK_BYTES });
  packed.on('error', (error) => inflater.destroy(error));
  inflater.on('close', () => packed.destroy());
  return packed.pipe(inflater);
}

async function verify(entry: unzipper.File, unpacked: Unpacked): Promise<CheckedCsv> {
  let crc = 0;
  let bytes = 0;
  const csv = new CsvCheck();
  // A wrong CRC is the better word for what is wrong with the CSV then.
  let fault: unknown;
  const check = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      crc = crc32(chunk, crc);
      fault ??= faultOf(() => csv.push(chunk));
      done(bytes > entry.uncompressedSize ? new Error('more bytes than the directory says') : null);
    },
  });
  try {
    await pipeline(unpacked, check.resume());
  } catch (cause) {
    throw new BulkFileError(`${entry.path} cannot be unpacked`, 'BULK_FILE_DAMAGED', { cause });
  }
  if (bytes !== entry.uncompressedSize || crc !== entry.crc32) {
    throw new BulkFileError(`${entry.path} has ${bytes} bytes with CRC ${crc.toString(16)}; its directory says ${entry.uncompressedSize} with ${entry.crc32.toString(16)}`, 'BULK_FILE_DAMAGED');
  }
  // The inflater ends where its data says so, whatever follows; a PassThrough takes it all.
  if (unpacked.bytesWritten !== undefined && unpacked.bytesWritten !== entry.compressedSize) {
    throw new BulkFileError(`${entry.path} was packed into ${unpacked.bytesWritten} bytes; its directory says ${entry.compressedSize}`, 'BULK_FILE_DAMAGED');
  }
  if (fault !== undefined) throw fault;
  return csv.end();
}

function faultOf(work: () => void): unknown {
  try {
    work();
    return undefined;
  } catch (error) {
    return error;
  }
}
