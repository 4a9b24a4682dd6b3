import { crc32c } from './crc32c.ts';
import { KafkaError } from './errors.ts';
import type { PackedPart } from './packed-messages.ts';
import type { Encoded } from './request-frame.ts';
import { compress } from './zstd.ts';

/** What kafkajs says of a produce request, its messages packed. */
export type ProduceRequest = {
  readonly acks: number;
  /** For the broker, milliseconds. */
  readonly timeout: number;
  /** One of kafkajs's types: none or zstd. */
  readonly compression: number;
  readonly topicData: readonly { readonly topic: string; readonly partitions: readonly { readonly partition: number; readonly messages: readonly PackedPart[] }[] }[];
};

/** In the place of kafkajs's produce request, version 3; it makes those up to 7 of it. Neither idempotent nor transactional: this producer is not. */
export const produceRequest = (request: ProduceRequest) => ({
  apiKey: 0,
  apiVersion: 3,
  apiName: 'Produce',
  expectResponse: () => request.acks !== 0,
  encode: async (): Promise<Encoded> => ({ buffer: await encodeProduce(request) }),
});

type Batch = { readonly partition: number; readonly count: number; readonly records: Buffer };

/**
 * The body, in one buffer of its size. kafkajs makes a buffer of every record, and copies each layer into the next by doubling one until it fits.
 * @see Kafka protocol guide, "Produce API"
 */
async function encodeProduce({ acks, timeout, compression, topicData }: ProduceRequest): Promise<Buffer> {
  const nowMs = Date.now();
  const topics = await Promise.all(topicData.map(async ({ topic, partitions }) => ({ name: Buffer.from(topic), batches: await Promise.all(partitions.map(({ partition, messages: [part] }) => batchOf(partition, part as PackedPart, compression))) })));
  let size = 2 + 2 + 4 + 4;
  for (const { name, batches } of topics) {
    size += 2 + name.length + 4;
    for (const { records } of batches) size += 4 + 4 + HEAD + records.length;
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
    for (const batch of batches) {
      const length = HEAD + batch.records.length;
      at = body.writeInt32BE(batch.partition, at);
      at = body.writeInt32BE(length, at);
      writeBatch(body.subarray(at, at + length), batch, compression, nowMs);
      at += length;
    }
  }
  return body;
}

const [NONE, ZSTD] = [0, 4];
const NO_TRANSACTIONAL_ID = -1;
const NO_PRODUCER = -1;
const MAGIC = 2;
// Where the parts of a batch begin; behind its head come the records.
const [LENGTH, LEADER_EPOCH, MAGIC_AT, CRC, ATTRIBUTES, LAST_OFFSET, FIRST_TIME, MAX_TIME, PRODUCER, PRODUCER_EPOCH, SEQUENCE, COUNT, HEAD] = [8, 12, 16, 17, 21, 23, 27, 35, 43, 51, 53, 57, 61] as const;

/** Fills `batch` as a record batch (message format 2). @see Kafka documentation, "Implementation: record batch" */
function writeBatch(batch: Buffer, { count, records }: Batch, compression: number, nowMs: number): void {
  batch.writeBigInt64BE(0n, 0);
  batch.writeInt32BE(batch.length - LEADER_EPOCH, LENGTH);
  batch.writeInt32BE(0, LEADER_EPOCH);
  batch.writeInt8(MAGIC, MAGIC_AT);
  batch.writeInt16BE(compression, ATTRIBUTES);
  batch.writeInt32BE(count - 1, LAST_OFFSET);
  batch.writeBigInt64BE(BigInt(nowMs), FIRST_TIME);
  batch.writeBigInt64BE(BigInt(nowMs), MAX_TIME);
  batch.writeBigInt64BE(BigInt(NO_PRODUCER), PRODUCER);
  batch.writeInt16BE(NO_PRODUCER, PRODUCER_EPOCH);
  batch.writeInt32BE(NO_PRODUCER, SEQUENCE);
  batch.writeInt32BE(count, COUNT);
  records.copy(batch, HEAD);
  batch.writeUInt32BE(crc32c(batch.subarray(ATTRIBUTES)), CRC);
}

async function batchOf(partition: number, part: PackedPart, compression: number): Promise<Batch> {
  const { packed, indexes } = part;
  if (compression !== NONE && compression !== ZSTD) throw new KafkaError(`compression ${compression} is not one of ours: none, or zstd`, 'KAFKA_REFUSED');
  const room = takeRoom(packed.sizeOfRecords(part));
  const plain = room.subarray(0, packed.writeRecords(part, room));
  const records = compression === ZSTD ? await compress(plain) : Buffer.from(plain);
  giveBack(room);
  return { partition, count: indexes.length, records };
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
  // Some more than is requested, so that the next one, which is about as large, fits as well.
  return room ?? Buffer.allocUnsafeSlow(Math.ceil(bytes * 1.25));
}

function giveBack(room: Buffer): void {
  if (room.length > KEEP_BYTES) return;
  const at = rooms.findIndex(({ length }) => length >= room.length);
  rooms.splice(at < 0 ? rooms.length : at, 0, room);
  if (rooms.length > KEEP) rooms.shift();
}
