import { createRequire } from 'node:module';

import { describe, expect, test } from 'vitest';

import { decodeMessages, type FetchedPartition, partitionsApart } from './fetch-response.ts';
import { decodeBatches } from './record-batches.ts';
import { batchBytes, valuesOf } from './testing.ts';

const require = createRequire(import.meta.url);
const { parse } = partitionsApart(require('kafkajs/src/protocol/requests/fetch/v1/response.js') as Parameters<typeof partitionsApart>[0]);
const Decoder = require('kafkajs/src/protocol/decoder.js') as new (bytes: Buffer) => Parameters<typeof decodeMessages>[0];
const [CORRUPT_MESSAGE, NOT_LEADER] = [2, 6];

const partition = async (number: number, errorCode: number, bytes: Buffer = Buffer.alloc(0)): Promise<FetchedPartition> => ({ partition: number, errorCode, highWatermark: '9', lastStableOffset: '9', messages: await decodeBatches(bytes) });
const answer = (...partitions: FetchedPartition[]) => ({ responses: [{ topicName: 't', partitions }] });

describe('the answer to a fetch', () => {
  test('has what a broker finds corrupt as a fault of its partition; the others keep their messages', async () => {
    const { responses } = await parse(answer(await partition(0, CORRUPT_MESSAGE), await partition(1, 0, await batchBytes(0, 2))));
    const [damaged, healthy] = responses[0]?.partitions ?? [];
    expect([damaged?.messages.fault, valuesOf(healthy?.messages.records ?? [])]).toEqual(['the broker finds a record batch corrupt (CORRUPT_MESSAGE)', ['v0', 'v1']]);
  });

  test('fails for whatever else the broker says, as before', async () => {
    await expect(parse(answer(await partition(0, NOT_LEADER)))).rejects.toMatchObject({ type: 'NOT_LEADER_FOR_PARTITION' });
  });

  test('is empty only when no partition has a byte', async () => {
    const [empty, full] = [await partition(0, 0), await partition(1, 0, await batchBytes(0, 1))];
    await parse(answer(empty, full));
    expect(empty.isOfEmptyAnswer).toBe(false);
    await parse(answer(empty));
    expect(empty.isOfEmptyAnswer).toBe(true);
  });

  test('is read batch by batch where there are bytes, and all of them', async () => {
    const batch = await batchBytes(0, 2);
    const sized = (size: number): Buffer => {
      const head = Buffer.alloc(4);
      head.writeInt32BE(size);
      return Buffer.concat([head, batch]);
    };
    expect(valuesOf((await decodeMessages(new Decoder(sized(batch.length)))).records)).toEqual(['v0', 'v1']);
    for (const size of [0, -1, batch.length + 1]) expect(await decodeMessages(new Decoder(sized(size)))).toEqual({ records: [], bytes: 0 });
  });
});
