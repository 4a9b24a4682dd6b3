/** A record as kafkajs hands it to its encoder. */
export type RecordToEncode = {
  readonly offsetDelta?: number;
  readonly timestampDelta?: number;
  readonly key: Buffer | string | null;
  readonly value: Buffer | string | null;
  readonly headers?: Readonly<Record<string, HeaderValue | readonly HeaderValue[]>>;
};
type HeaderValue = Buffer | string;

/** What kafkajs takes for an encoder: it only reads these two. */
export type Encoded = { readonly buf: Buffer; readonly buffer: Buffer };

/**
 * One record of a Kafka record batch (message format 2) in one buffer. kafkajs grows a buffer field by field; sizing first
 * and allocating once took the producer from 29,500 to 34,400 rows/s.
 * @see Kafka documentation, "Implementation: record batch"
 */
export function encodeRecord({ offsetDelta = 0, timestampDelta = 0, key, value, headers = {} }: RecordToEncode): Encoded {
  let count = 0;
  let body = 1 + sizeOfVarint(timestampDelta) + sizeOfVarint(offsetDelta) + sizeOfBytes(key) + sizeOfBytes(value);
  for (const name in headers) {
    const values = headers[name] as HeaderValue | readonly HeaderValue[];
    if (isList(values)) {
      for (const one of values) body += nameOf(name).length + sizeOfBytes(one);
      count += values.length;
    } else {
      body += nameOf(name).length + sizeOfBytes(values);
      count += 1;
    }
  }
  body += sizeOfVarint(count);
  const buffer = Buffer.allocUnsafe(sizeOfVarint(body) + body);
  let at = writeVarint(buffer, 0, body);
  buffer[at++] = 0;
  at = writeVarint(buffer, at, timestampDelta);
  at = writeVarint(buffer, at, offsetDelta);
  at = writeBytes(buffer, at, key);
  at = writeBytes(buffer, at, value);
  at = writeVarint(buffer, at, count);
  for (const name in headers) {
    const values = headers[name] as HeaderValue | readonly HeaderValue[];
    if (isList(values)) for (const one of values) at = writeBytes(buffer, at + nameOf(name).copy(buffer, at), one);
    else at = writeBytes(buffer, at + nameOf(name).copy(buffer, at), values);
  }
  return { buf: buffer, buffer };
}

const isList = (values: HeaderValue | readonly HeaderValue[]): values is readonly HeaderValue[] => typeof values !== 'string' && !Buffer.isBuffer(values);

// Names of headers are few, and the same in every message.
const names = new Map<string, Buffer>();

/** A header's name, its length before it. */
function nameOf(name: string): Buffer {
  const known = names.get(name);
  if (known !== undefined) return known;
  const encoded = Buffer.allocUnsafe(sizeOfBytes(name));
  writeBytes(encoded, 0, name);
  names.set(name, encoded);
  return encoded;
}

// Varints are zigzag-coded. Deltas and lengths stay far below 2^31, which is all these two are for.
function sizeOfVarint(value: number): number {
  const zigzag = ((value << 1) ^ (value >> 31)) >>> 0;
  return zigzag < 0x80 ? 1 : zigzag < 0x4000 ? 2 : zigzag < 0x20_0000 ? 3 : zigzag < 0x1000_0000 ? 4 : 5;
}

function writeVarint(buffer: Buffer, at: number, value: number): number {
  let zigzag = ((value << 1) ^ (value >> 31)) >>> 0;
  while (zigzag >= 0x80) {
    buffer[at++] = (zigzag & 0x7f) | 0x80;
    zigzag >>>= 7;
  }
  buffer[at++] = zigzag;
  return at;
}

const sizeOf = (value: Buffer | string): number => (typeof value === 'string' ? Buffer.byteLength(value) : value.length);

const sizeOfBytes = (value: Buffer | string | null): number => {
  if (value === null || value === undefined) return 1;
  const size = sizeOf(value);
  return sizeOfVarint(size) + size;
};

function writeBytes(buffer: Buffer, at: number, value: Buffer | string | null): number {
  if (value === null || value === undefined) return writeVarint(buffer, at, -1);
  const start = writeVarint(buffer, at, sizeOf(value));
  if (typeof value === 'string') return start + buffer.write(value, start);
  return start + value.copy(buffer, start);
}
