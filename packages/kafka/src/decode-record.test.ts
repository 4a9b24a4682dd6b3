import { createRequire } from 'node:module';

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { DecodedRecord } from './decode-record.ts';

const require = createRequire(import.meta.url);
type Encoded = { readonly buffer: Buffer };
type RecordToEncode = { readonly offsetDelta: number; readonly timestampDelta: number; readonly key: Buffer | string | null; readonly value: Buffer | string | null; readonly headers: Record<string, Buffer | string | Buffer[]> };
const theirEncode = require('kafkajs/src/protocol/recordBatch/record/v0/index.js') as (record: RecordToEncode) => Encoded;
type Decoder = { readonly buffer: Buffer; readVarIntBytes(): Buffer };
const Decoder = require('kafkajs/src/protocol/decoder.js') as new (buffer: Buffer) => Decoder;
type TheirRecord = { offset: string; timestamp: string; key: Buffer | null; value: Buffer | null; headers: Record<string, Buffer | Buffer[]>; isControlRecord: boolean };
type TheirContext = { readonly firstOffset: string; readonly firstTimestamp: string; readonly maxTimestamp: string; readonly timestampType: number; readonly isControlBatch: boolean };
const theirDecode = require('kafkajs/src/protocol/recordBatch/record/v0/decoder.js') as (decoder: Decoder, context: TheirContext) => TheirRecord;

const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array));
const content = fc.oneof(bytes, fc.string({ unit: 'grapheme', maxLength: 100 }));
const name = fc.constantFrom('ce_type', 'ce_origin', 'content-type', 'x', 'xy');
const record: fc.Arbitrary<RecordToEncode> = fc.record({
  offsetDelta: fc.integer({ min: 0, max: 100_000 }),
  timestampDelta: fc.integer({ min: -100_000, max: 1_000_000_000 }),
  key: fc.oneof(content, fc.constant(null)),
  value: fc.oneof(content, fc.constant(null)),
  headers: fc.dictionary(name, fc.oneof(content, fc.array(bytes, { minLength: 1, maxLength: 3 }))),
});
const context = { firstOffset: '9007199254000000', firstTimestamp: '1795000000000', maxTimestamp: '1795000099999', timestampType: 0, isControlBatch: false };
const body = ({ buffer }: Encoded): Decoder => new Decoder(new Decoder(buffer).readVarIntBytes());

describe('a record', () => {
  test('is read as the library reads it, with the first of several headers of a name', () => {
    fc.assert(
      fc.property(record, fc.constantFrom(0, 1), fc.boolean(), (one, timestampType, isControlBatch) => {
        const encoded = theirEncode(one);
        const given = { ...context, timestampType, isControlBatch };
        const { offset, timestamp, key, value, headers, isControlRecord } = theirDecode(body(encoded), given);
        const { buffer } = body(encoded);
        const ours = new DecodedRecord(buffer, 0, { firstOffset: Number(given.firstOffset), firstTimestampMs: Number(given.firstTimestamp), appendedMs: timestampType === 1 ? Number(given.maxTimestamp) : undefined, isControlBatch, transactionOf: undefined });
        expect([ours.offset, ours.timestampMs, ours.key, ours.value, ours.isControlRecord]).toEqual([Number(offset), Number(timestamp), key, value, isControlRecord]);
        for (const [header, values] of Object.entries(headers)) expect(ours.header(header)).toEqual(Array.isArray(values) ? values[0] : values);
        expect(ours.header('absent')).toBeUndefined();
      }),
    );
  });
});
