import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';

import { crc32c } from './crc32c.ts';
import { DecodedRecord } from './decode-record.ts';
import { Cursor } from './varint.ts';
import { decompress } from './zstd.ts';

/** What was fetched of a partition: the records before the first batch that cannot be read, the offset behind them, and why it cannot. */
export type FetchedRecords = { readonly records: readonly DecodedRecord[]; readonly bytes: number; readonly following?: number | undefined; readonly fault?: string | undefined };

/** Why a batch cannot be read; never leaves this file. */
class Fault extends Error {}

const MAGIC = 2;
// Where the parts of a batch begin. `length` counts from behind itself, and the check from the attributes to the end.
const [LENGTH, LEADER_EPOCH, MAGIC_AT, CRC, ATTRIBUTES, LAST_OFFSET, FIRST_TIME, MAX_TIME, PRODUCER, COUNT, HEAD] = [8, 12, 16, 17, 21, 23, 27, 35, 43, 57, 61] as const;
const [CODEC, LOG_APPEND_TIME, TRANSACTIONAL, CONTROL] = [0x07, 0x08, 0x10, 0x20] as const;
const codecs: Readonly<Record<number, string>> = { 2: 'snappy', 3: 'lz4' };
const decompressors: Readonly<Record<number, (bytes: Buffer) => Buffer | Promise<Buffer>>> = { 0: (bytes) => bytes, 1: promisify(gunzip), 4: decompress };

/**
 * The records of the batches (message format 2) that a broker sent of one partition. The last one may be cut off: it comes whole next time. Each
 * batch is checked before anything of it is handed on: its CRC-32C, which covers the compressed bytes, and what the CRC leaves out, length, format
 * and first offset. kafkajs checks none of them.
 * @see Kafka documentation, "Implementation: record batch"
 */
export async function decodeBatches(bytes: Buffer): Promise<FetchedRecords> {
  const records: DecodedRecord[] = [];
  let following: number | undefined;
  for (let at = 0; at < bytes.length; ) {
    try {
      const batch = nextBatch(bytes, at);
      if (batch === undefined) break;
      const first = checkHead(batch, following);
      for (const record of await recordsOf(batch, first)) records.push(record);
      following = first + batch.readInt32BE(LAST_OFFSET) + 1;
      at += batch.length;
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      return { records, bytes: bytes.length, following, fault: error.message };
    }
  }
  return { records, bytes: bytes.length, following };
}

/** The batch that begins here. A broker always sends the first one whole; `undefined` is one that is cut off behind others. */
function nextBatch(bytes: Buffer, at: number): Buffer | undefined {
  const length = bytes.length - at < LEADER_EPOCH ? Infinity : bytes.readInt32BE(at + LENGTH);
  if (length < HEAD - LEADER_EPOCH) throw new Fault(`a record batch says it is ${length} bytes long`);
  const end = at + LEADER_EPOCH + length;
  if (end <= bytes.length) return bytes.subarray(at, end);
  if (at > 0) return undefined;
  throw new Fault(`a record batch of ${length} bytes is cut off after ${bytes.length}`);
}

/** @returns the first offset. */
function checkHead(batch: Buffer, following: number | undefined): number {
  const magic = batch.readInt8(MAGIC_AT);
  if (magic !== MAGIC) throw new Fault(`a record batch is of format ${magic}, not ${MAGIC}`);
  if (crc32c(batch.subarray(ATTRIBUTES)) !== batch.readUInt32BE(CRC)) throw new Fault("a record batch's CRC-32C does not match its bytes");
  const first = Number(batch.readBigInt64BE(0));
  // The history is not compacted, so offsets have no gaps.
  if (following !== undefined && first !== following) throw new Fault(`a record batch begins at offset ${first}, and the one before it ends at ${following - 1}`);
  return first;
}

async function recordsOf(batch: Buffer, firstOffset: number): Promise<DecodedRecord[]> {
  const attributes = batch.readInt16BE(ATTRIBUTES);
  const bytes = await decompressed(batch.subarray(HEAD), attributes & CODEC);
  const context = {
    firstOffset,
    firstTimestampMs: Number(batch.readBigInt64BE(FIRST_TIME)),
    appendedMs: (attributes & LOG_APPEND_TIME) === 0 ? undefined : Number(batch.readBigInt64BE(MAX_TIME)),
    isControlBatch: (attributes & CONTROL) !== 0,
    transactionOf: (attributes & TRANSACTIONAL) === 0 ? undefined : String(batch.readBigInt64BE(PRODUCER)),
  };
  const cursor = new Cursor(bytes, 0);
  const records: DecodedRecord[] = [];
  for (let left = batch.readInt32BE(COUNT); left > 0 && cursor.at < bytes.length; left -= 1) {
    const length = cursor.varint();
    records.push(new DecodedRecord(bytes, cursor.at, context));
    cursor.at += length;
  }
  if (cursor.at !== bytes.length || records.length !== batch.readInt32BE(COUNT)) throw new Fault(`a record batch of ${batch.readInt32BE(COUNT)} records does not hold so many`);
  return records;
}

async function decompressed(bytes: Buffer, codec: number): Promise<Buffer> {
  const decompressor = decompressors[codec];
  if (decompressor === undefined) throw new Fault(`a record batch is compressed by ${codecs[codec] ?? `codec ${codec}`}, which this build does not read. Let its producer use zstd, gzip or none, and the topic compression.type=producer or zstd`);
  try {
    return await decompressor(bytes);
  } catch (error) {
    throw new Fault(`a record batch cannot be decompressed: ${String(error)}`);
  }
}
