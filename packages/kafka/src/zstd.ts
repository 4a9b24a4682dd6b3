import { promisify } from 'node:util';
import { constants, zstdCompress, zstdCompressSync, zstdDecompress, zstdDecompressSync } from 'node:zlib';

// A small batch takes less time than its way to another thread and back.
const ON_THE_SPOT_BYTES = 65_536;
const MAX_CHUNK_BYTES = 8_000_000;
const level = { params: { [constants.ZSTD_c_compressionLevel]: 1 } };
const inPool = { compress: promisify(zstdCompress), decompress: promisify(zstdDecompress) };

/*
 * Room is given for all of what comes out; by default it is 16 KB at a time, and the main thread is asked each time. Events shrink to about a
 * seventh; where it is less, it asks again. The figures are in docs/benchmarks.md.
 */

/** Compresses at level 1. The bytes given may change once it has settled. */
export const compress = async (bytes: Buffer): Promise<Buffer> =>
  bytes.length < ON_THE_SPOT_BYTES ? zstdCompressSync(bytes, level) : await inPool.compress(bytes, { ...level, chunkSize: Math.ceil(bytes.length / 4) });

export const decompress = async (bytes: Buffer): Promise<Buffer> =>
  bytes.length < ON_THE_SPOT_BYTES / 8 ? zstdDecompressSync(bytes) : await inPool.decompress(bytes, { chunkSize: Math.min(bytes.length * 8, MAX_CHUNK_BYTES) });
