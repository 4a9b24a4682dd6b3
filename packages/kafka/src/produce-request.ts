import type { PackedPart } from './packed-messages.ts';

/** A produce request as kafkajs asks for it, its messages packed. Neither idempotent nor transactional: this producer is not. */
export type ProduceRequest = {
  readonly acks: number;
  /** For the broker, milliseconds. */
  readonly timeout: number;
  readonly compression: number;
  readonly topicData: readonly { readonly topic: string; readonly partitions: readonly { readonly partition: number; readonly messages: readonly PackedPart[] }[] }[];
};

/** How records are compressed, by the type's number, and the checksum of what comes out. */
export type BatchCodecs = {
  /** Null where the type is none. The bytes given may change once it has settled. @throws {KafkaError} for a type that is not ours. */
  readonly compress: (type: number, bytes: Buffer) => Promise<Buffer> | null;
  readonly crc32c: (bytes: Buffer) => number;
};

/**
 * The body of a produce request (version 3 to 7), written once into a buffer of its size. kafkajs makes a buffer of every record, and copies each
 * layer into the next by doubling one until it fits.
 * @see Kafka protocol guide, "Produce API"
 */
export async function encodeProduce({ acks, timeout, compression, topicData }: ProduceRequest, codecs: BatchCodecs): Promise<Buffer> {
  const nowMs = Date.now();
  const topics = await Promise.all(
    topicData.map(async ({ topic, partitions }) => ({
      name: Buffer.from(topic),
      batches: await Promise.all(partitions.map(async ({ partition, messages: [part] }) => ({ partition, batch: await encodeBatch(part as PackedPart, compression, nowMs, codecs) }))),
    })),
  );
  let size = 2 + 2 + 4 + 4;
  for (const { name, batches } of topics) {
    size += 2 + name.length + 4;
    for (const { batch } of batches) size += 4 + 4 + batch.length;
  }
  const body = Buffer.allocUnsafe(size);
  let at = body.writeInt16BE(NO_TRANSACTIONAL_ID, 0);
  at = body.writeInt16BE(acks, at);
  at = body.writeInt32BE(timeout, at);
  at = body.writeInt32BE(topics.length, at);
  for (const { name, batches } of topics) {
    at = body.writeInt16BE(name.length, at);
    at += name.copy(body, at);
    at = body.writeInt32BE(batches.length, at);
    for (const { partition, batch } of batches) {
      at = body.writeInt32BE(partition, at);
      at = body.writeInt32BE(batch.length, at);
      at += batch.copy(body, at);
    }
  }
  return body;
}

const NO_TRANSACTIONAL_ID = -1;
const CODEC_MASK = 0x07;
const MAGIC = 2;
const NO_PRODUCER = -1;
// Where the parts of a batch begin.
const [LENGTH, LEADER_EPOCH, MAGIC_AT, CRC, ATTRIBUTES, LAST_OFFSET, FIRST_TIME, MAX_TIME, PRODUCER, PRODUCER_EPOCH, SEQUENCE, COUNT, RECORDS] = [8, 12, 16, 17, 21, 23, 27, 35, 43, 51, 53, 57, 61] as const;

/**
 * A record batch (message format 2).
 * @see Kafka documentation, "Implementation: record batch"
 */
async function encodeBatch(part: PackedPart, compression: number, nowMs: number, { compress, crc32c }: BatchCodecs): Promise<Buffer> {
  const type = compression & CODEC_MASK;
  const { packed, indexes } = part;
  const room = takeRoom(packed.sizeOfRecords(part));
  const records = room.subarray(0, packed.writeRecords(part, room, 0));
  const body = (await compress(type, records)) ?? records;
  const batch = Buffer.allocUnsafe(RECORDS + body.length);
  batch.writeBigInt64BE(0n, 0);
  batch.writeInt32BE(batch.length - LEADER_EPOCH, LENGTH);
  batch.writeInt32BE(0, LEADER_EPOCH);
  batch.writeInt8(MAGIC, MAGIC_AT);
  batch.writeInt16BE(type, ATTRIBUTES);
  batch.writeInt32BE(indexes.length - 1, LAST_OFFSET);
  batch.writeBigInt64BE(BigInt(nowMs), FIRST_TIME);
  batch.writeBigInt64BE(BigInt(nowMs), MAX_TIME);
  batch.writeBigInt64BE(BigInt(NO_PRODUCER), PRODUCER);
  batch.writeInt16BE(NO_PRODUCER, PRODUCER_EPOCH);
  batch.writeInt32BE(NO_PRODUCER, SEQUENCE);
  batch.writeInt32BE(indexes.length, COUNT);
  body.copy(batch, RECORDS);
  giveBack(room);
  batch.writeUInt32BE(crc32c(batch.subarray(ATTRIBUTES)), CRC);
  return batch;
}

/** More rooms, or larger ones, than a page in flight takes are not kept. */
const KEEP = 16;
const KEEP_BYTES = 2_000_000;
/** The smallest first. */
const rooms: Buffer[] = [];

/** A buffer of at least so many bytes, the smallest that is free if there is one. */
function takeRoom(bytes: number): Buffer {
  const at = rooms.findIndex(({ length }) => length >= bytes);
  const [room] = at < 0 ? [] : rooms.splice(at, 1);
  // Some more than is asked for, so that the next one, which is about as large, fits as well.
  return room ?? Buffer.allocUnsafeSlow(Math.ceil(bytes * 1.25));
}

function giveBack(room: Buffer): void {
  if (room.length > KEEP_BYTES) return;
  const at = rooms.findIndex(({ length }) => length >= room.length);
  rooms.splice(at < 0 ? rooms.length : at, 0, room);
  if (rooms.length > KEEP) rooms.shift();
}

/** What frames a request. */
export type RequestHead = { readonly apiKey: number; readonly apiVersion: number; readonly correlationId: number; readonly clientId: string | null };

/** A request as it goes over the wire: its length, its head (version 1) and its body. */
export function encodeFrame({ apiKey, apiVersion, correlationId, clientId }: RequestHead, body: Buffer): Buffer {
  const name = clientId === null ? null : Buffer.from(clientId);
  const frame = Buffer.allocUnsafe(4 + 2 + 2 + 4 + 2 + (name?.length ?? 0) + body.length);
  let at = frame.writeInt32BE(frame.length - 4, 0);
  at = frame.writeInt16BE(apiKey, at);
  at = frame.writeInt16BE(apiVersion, at);
  at = frame.writeInt32BE(correlationId, at);
  at = frame.writeInt16BE(name?.length ?? -1, at);
  at += name?.copy(frame, at) ?? 0;
  body.copy(frame, at);
  return frame;
}
