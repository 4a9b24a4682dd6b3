import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { DecodedRecord } from './decode-record.ts';
import { partitionOf } from './murmur2.ts';
import { PackedMessages, type PackedPart } from './packed-messages.ts';
import type { ProducedMessage } from './message.ts';
import { Cursor } from './varint.ts';

const content = fc.oneof(fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array)), fc.string({ unit: 'binary', maxLength: 100 }));
const message: fc.Arbitrary<ProducedMessage> = fc.record(
  { key: content, value: content, headers: fc.dictionary(fc.constantFrom('ce_type', 'x'), content), partition: fc.nat({ max: 3 }) },
  { requiredKeys: ['key', 'value'] },
);
const messages = fc.array(message, { maxLength: 30 });
const bytesOf = (value: Buffer | string): string => Buffer.from(value).toString('hex');
const plain = ({ key, value, headers = {}, partition }: ProducedMessage): unknown => [bytesOf(key), bytesOf(value), Object.entries(headers).map(([name, of]) => [name, bytesOf(of)]), partition];

describe('packed messages', () => {
  test('give back what was put in, however little room there was, and again after they were emptied', () => {
    fc.assert(
      fc.property(messages, messages, (first, second) => {
        const packed = new PackedMessages(1);
        for (const one of first) packed.add(one);
        expect([...packed].map(plain)).toEqual(first.map(plain));
        packed.clear();
        expect([...packed]).toEqual([]);
        for (const one of second) packed.add(one);
        expect([...packed].map(plain)).toEqual(second.map(plain));
      }),
    );
  });

  test('what was taken out stays when others take its place', () => {
    const packed = PackedMessages.of([{ key: 'a', value: 'first' }]);
    const taken = [...packed];
    packed.clear();
    packed.add({ key: 'b', value: 'other' });
    expect(taken.map(plain)).toEqual([{ key: 'a', value: 'first' }].map(plain));
  });

  test('a part of what was emptied since is refused: others stand in its place', () => {
    const packed = PackedMessages.of([{ key: 'a', value: 'first' }]);
    const part = packed.parts(1).get(0) as PackedPart;
    packed.clear();
    packed.add({ key: 'b', value: 'other' });
    expect(() => packed.sizeOfRecords(part)).toThrow('in their place');
  });

  test('one that cannot be packed leaves no trace', () => {
    const packed = PackedMessages.of([{ key: 'a', value: 'first' }]);
    expect(() => packed.add({ key: 'b', value: 7 as unknown as string })).toThrow(TypeError);
    packed.add({ key: 'c', value: 'third' });
    expect([...packed].map(({ key }) => String(key))).toEqual(['a', 'c']);
  });

  test('each go to one partition, the one that is named or else that of the key, in the order they came', () => {
    fc.assert(
      fc.property(messages, (all) => {
        const parts = PackedMessages.of(all).parts(4);
        const wanted = Map.groupBy(all.keys(), (index) => all[index]?.partition ?? partitionOf(all[index]?.key ?? '', 4));
        expect(new Map([...parts].map(([partition, { indexes }]) => [partition, indexes]))).toEqual(wanted);
      }),
    );
  });

  test.each([0, 1, 63, 64, 8_191, 8_192, 100_000, 3_000_000])('with a value of %i bytes are the same when they are read', (size) => {
    const value = Buffer.alloc(size, 'x');
    const packed = PackedMessages.of([{ key: '1', value: '' }, { key: 'k', value, headers: { x: 'y' } }]);
    const part = packed.parts(1).get(0) as PackedPart;
    const records = Buffer.alloc(packed.sizeOfRecords(part));
    expect(packed.writeRecords(part, records)).toBe(records.length);
    const second = new Cursor(records, 0).skip();
    second.varint();
    const record = new DecodedRecord(records, second.at, { firstOffset: 40, firstTimestampMs: 7, appendedMs: undefined, isControlBatch: false, transactionOf: undefined });
    expect([record.offset, record.timestampMs, String(record.key), String(record.header('x'))]).toEqual([41, 7, 'k', 'y']);
    expect(record.value?.equals(value)).toBe(true);
  });
});
