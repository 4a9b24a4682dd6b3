import { createRequire } from 'node:module';

import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { encodeFrame, encodeProduce } from './produce-request.ts';
import { type PackedPart, PackedMessages } from './packed-messages.ts';
import type { ProducedMessage } from './message.ts';

// As they come with the library; only packages/kafka/src/kafkajs.ts puts ours in their place.
const require = createRequire(import.meta.url);
type Encoded = { readonly buffer: Buffer };
type TheirMessage = { readonly key: Buffer | string; readonly value: Buffer | string; readonly headers?: Record<string, Buffer | string> };
type TheirPartition = { readonly partition: number; readonly messages: readonly TheirMessage[]; readonly firstSequence: number };
const theirRequest = require('kafkajs/src/protocol/requests/produce/v3/request.js') as (request: object) => { apiKey: number; apiVersion: number; encode(): Promise<Encoded> };
const theirFrame = require('kafkajs/src/protocol/request.js') as (of: object) => Promise<Encoded>;
const theirCrc = require('kafkajs/src/protocol/recordBatch/crc32C/index.js') as (bytes: Buffer) => number;
const { Codecs } = require('kafkajs/src/protocol/message/compression/index.js') as { Codecs: Record<number, () => { compress(of: Encoded): Promise<Buffer> }> };

const ZSTD = 4;
// Any change of the bytes does for compressing; it must see all of them.
const mirrored = (bytes: Buffer): Buffer => Buffer.from(bytes.toReversed());
const codecs = { compress: (type: number, bytes: Buffer) => (type === 0 ? null : Promise.resolve(mirrored(bytes))), crc32c: theirCrc };

beforeEach(() => {
  vi.useFakeTimers({ now: 1_795_000_000_123, toFake: ['Date'] });
  Codecs[ZSTD] = () => ({ compress: ({ buffer }) => Promise.resolve(mirrored(buffer)) });
});
afterEach(() => vi.useRealTimers());

const content = fc.oneof(fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array)), fc.string({ unit: 'binary', maxLength: 100 }), fc.constantFrom('é'.repeat(40), '東'.repeat(3_000), 'x'.repeat(9_000)));
const message: fc.Arbitrary<ProducedMessage> = fc.record(
  { key: content, value: content, headers: fc.dictionary(fc.constantFrom('ce_type', 'ce_origin', 'content-type', 'x', 'é'), content), partition: fc.nat({ max: 6 }) },
  { requiredKeys: ['key', 'value'] },
);

/** What the library would write: nobody's producer, so no id, epoch or sequence. */
async function theirs(parts: ReadonlyMap<number, PackedPart>, compression: number): Promise<Buffer> {
  const partitions = [...parts].map(([partition, { packed, indexes }]): TheirPartition => {
    const all = [...packed];
    return { partition, firstSequence: -1, messages: indexes.map((index) => all[index] as TheirMessage) };
  });
  return (await theirRequest({ acks: -1, timeout: 30_000, compression, producerEpoch: -1, topicData: [{ topic: 'crm.records.leads', partitions }] }).encode()).buffer;
}

const ours = (parts: ReadonlyMap<number, PackedPart>, compression: number): Promise<Buffer> =>
  encodeProduce({ acks: -1, timeout: 30_000, compression, topicData: [{ topic: 'crm.records.leads', partitions: [...parts].map(([partition, part]) => ({ partition, messages: [part] })) }] }, codecs);

describe('a produce request', () => {
  test.each([['plain', 0], ['compressed', ZSTD]])('%s, is written byte for byte as the library writes it', async (_, compression) => {
    await fc.assert(
      fc.asyncProperty(fc.array(message, { minLength: 1, maxLength: 100 }), async (messages) => {
        const parts = PackedMessages.of(messages).parts(7);
        expect((await ours(parts, compression)).toString('hex')).toBe((await theirs(parts, compression)).toString('hex'));
      }),
      { numRuns: 50 },
    );
  });

  test('of more than 100,000 messages is written so as well', async () => {
    const packed = new PackedMessages(64);
    for (let i = 0; i < 100_001; i += 1) packed.add({ key: String(i), value: `${i}` });
    const parts = packed.parts(1);
    expect((await ours(parts, ZSTD)).equals(await theirs(parts, ZSTD))).toBe(true);
  });

  test('leaves the packed messages as they were, to be sent again', async () => {
    const packed = PackedMessages.of([{ key: 'a', value: 'é', headers: { x: 'y' } }, { key: 'b', value: '' }]);
    const first = await ours(packed.parts(3), ZSTD);
    await ours(PackedMessages.of([{ key: 'other', value: 'x'.repeat(1_000) }]).parts(3), ZSTD);
    expect((await ours(packed.parts(3), ZSTD)).equals(first)).toBe(true);
  });

  test.each([['lockstep-ingress'], ['é'], [null]])('is framed as the library frames it, for client %s', async (clientId) => {
    const body = Buffer.from('any request');
    const request = { apiKey: 18, apiVersion: 3, correlationId: 77, clientId };
    const Encoder = require('kafkajs/src/protocol/encoder.js') as new () => { writeBuffer(bytes: Buffer): Encoded };
    const framed = await theirFrame({ ...request, request: { ...request, encode: () => Promise.resolve(new Encoder().writeBuffer(body)) } });
    expect(encodeFrame(request, body).equals(framed.buffer)).toBe(true);
  });
});
