import { createRequire } from 'node:module';

import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import type { ProducedMessage } from './message.ts';
import { PackedMessages, type PackedPart } from './packed-messages.ts';
import { produceRequest } from './produce-request.ts';
import { type Encoded, frameRequest } from './request-frame.ts';
import { compress } from './zstd.ts';

// As they come with the library; only packages/kafka/src/kafkajs.ts puts ours in their place.
const require = createRequire(import.meta.url);
type TheirMessage = { readonly key: Buffer | string; readonly value: Buffer | string; readonly headers?: Record<string, Buffer | string> };
type TheirPartition = { readonly partition: number; readonly messages: readonly TheirMessage[]; readonly firstSequence: number };
const theirRequest = require('kafkajs/src/protocol/requests/produce/v3/request.js') as (request: object) => { apiKey: number; apiVersion: number; encode(): Promise<Encoded> };
const theirFrame = require('kafkajs/src/protocol/request.js') as (of: object) => Promise<Encoded>;
const { Codecs } = require('kafkajs/src/protocol/message/compression/index.js') as { Codecs: Record<number, () => { compress(of: Encoded): Promise<Buffer> }> };

const ZSTD = 4;

beforeEach(() => {
  vi.useFakeTimers({ now: 1_795_000_000_123, toFake: ['Date'] });
  Codecs[ZSTD] = () => ({ compress: ({ buffer }) => compress(buffer) });
});
afterEach(() => vi.useRealTimers());

const content = fc.oneof(fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array)), fc.string({ unit: 'binary', maxLength: 100 }), fc.constantFrom('é'.repeat(40), '東'.repeat(3_000), 'x'.repeat(9_000)));
const message: fc.Arbitrary<ProducedMessage> = fc.record(
  { key: content, value: content, headers: fc.dictionary(fc.constantFrom('ce_type', 'ce_origin', 'content-type', 'x', 'é'), content), partition: fc.nat({ max: 6 }) },
  { requiredKeys: ['key', 'value'] },
);

/** What the library would write: not an idempotent producer, so no id, epoch or sequence. */
async function theirs(parts: ReadonlyMap<number, PackedPart>, compression: number): Promise<Buffer> {
  const partitions = [...parts].map(([partition, { packed, indexes }]): TheirPartition => {
    const all = [...packed];
    return { partition, firstSequence: -1, messages: indexes.map((index) => all[index] as TheirMessage) };
  });
  return (await theirRequest({ acks: -1, timeout: 30_000, compression, producerEpoch: -1, topicData: [{ topic: 'crm.records.leads', partitions }] }).encode()).buffer;
}

async function ours(parts: ReadonlyMap<number, PackedPart>, compression: number): Promise<Buffer> {
  const partitions = [...parts].map(([partition, part]) => ({ partition, messages: [part] }));
  return (await produceRequest({ acks: -1, timeout: 30_000, compression, topicData: [{ topic: 'crm.records.leads', partitions }] }).encode()).buffer;
}

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
    const Encoder = require('kafkajs/src/protocol/encoder.js') as new () => { writeBuffer(bytes: Buffer): Encoded };
    const given = { request: { apiKey: 18, apiVersion: 3, encode: async () => new Encoder().writeBuffer(body) }, correlationId: 77, clientId };
    expect((await frameRequest(given)).buffer.equals((await theirFrame(given)).buffer)).toBe(true);
  });

  test('with a compression that is not ours is refused, not sent under a wrong label', async () => {
    await expect(ours(PackedMessages.of([{ key: 'a', value: 'b' }]).parts(1), 1)).rejects.toMatchObject({ code: 'KAFKA_REFUSED' });
  });
});
