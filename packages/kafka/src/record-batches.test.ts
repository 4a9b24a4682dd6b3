import { zstdCompressSync } from 'node:zlib';

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { crc32c } from './crc32c.ts';
import { decodeBatches } from './record-batches.ts';
import { batchBytes, fetchedBatch, valuesOf } from './testing.ts';

const [LENGTH, LEADER_EPOCH, MAGIC, CRC, ATTRIBUTES, HEAD] = [8, 12, 16, 17, 21, 61] as const;
const ZSTD = 4;
const SNAPPY = 2;

const sizes = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 });

/** Batches one behind the other, from offset 0. */
async function logOf(counts: readonly number[]): Promise<{ bytes: Buffer; batches: { at: number; end: number; first: number; count: number }[] }> {
  const parts: Buffer[] = [];
  const batches = [];
  let [at, first] = [0, 0];
  for (const count of counts) {
    const part = await batchBytes(first, count);
    parts.push(part);
    batches.push({ at, end: at + part.length, first, count });
    [at, first] = [at + part.length, first + count];
  }
  return { bytes: Buffer.concat(parts), batches };
}

const valuesUpTo = (offset: number): string[] => Array.from({ length: offset }, (_, n) => `v${n}`);

/** The batch with other records; its CRC is right. */
function withRecords(batch: Buffer, records: Buffer, codec: number): Buffer {
  const made = Buffer.concat([batch.subarray(0, HEAD), records]);
  made.writeInt16BE(codec, ATTRIBUTES);
  made.writeInt32BE(made.length - LEADER_EPOCH, LENGTH);
  made.writeUInt32BE(crc32c(made.subarray(ATTRIBUTES)), CRC);
  return made;
}

describe('record batches', () => {
  test('any bit that is flipped ends what is read at the batch before it, and is noticed', async () => {
    await fc.assert(
      fc.asyncProperty(sizes, fc.nat(), fc.nat({ max: 7 }), async (counts, place, bit) => {
        const { bytes, batches } = await logOf(counts);
        const at = place % bytes.length;
        const hit = batches.find(({ end }) => at < end);
        if (hit === undefined) throw new Error('no batch holds it');
        // Which leader appended it is of no use to a reader, and not covered by the CRC.
        fc.pre(at < hit.at + LEADER_EPOCH || at >= hit.at + MAGIC);
        bytes[at] = (bytes[at] as number) ^ (1 << bit);
        const { messages, fault } = await fetchedBatch(0, bytes);
        expect(valuesOf(messages)).toEqual(valuesUpTo(hit.first));
        // A length that reaches beyond the end looks like a batch that was cut off; the next fetch, which begins with it, shows that it was not.
        const rest = fault ?? (await fetchedBatch(hit.first, bytes.subarray(hit.at))).fault;
        expect(rest).toBeTypeOf('string');
      }),
      { numRuns: 500 },
    );
  });

  test('a last batch that is cut off comes with the next fetch; a first one never is', async () => {
    await fc.assert(
      fc.asyncProperty(sizes, fc.nat(), async (counts, place) => {
        const { bytes, batches } = await logOf(counts);
        const length = 1 + (place % bytes.length);
        const { messages, fault } = await fetchedBatch(0, bytes.subarray(0, length));
        const whole = batches.filter(({ end }) => end <= length);
        expect(valuesOf(messages)).toEqual(valuesUpTo(whole.reduce((sum, { count }) => sum + count, 0)));
        expect(fault === undefined).toBe(whole.length > 0);
      }),
    );
  });

  test('compressed bytes that do not unpack are a fault, not an error of the consumer', async () => {
    const good = await batchBytes(0, 3);
    const packed = zstdCompressSync(good.subarray(HEAD));
    expect(valuesOf((await decodeBatches(withRecords(good, packed, ZSTD))).records)).toEqual(['v0', 'v1', 'v2']);
    packed[packed.length - 1] = 0xff;
    packed[0] = 0;
    expect(await decodeBatches(withRecords(good, packed, ZSTD))).toMatchObject({ records: [], fault: expect.stringContaining('cannot be decompressed') });
  });

  test('a compression of others, and records that are not as many as the head says, are faults', async () => {
    const good = await batchBytes(0, 3);
    expect(await decodeBatches(withRecords(good, good.subarray(HEAD), SNAPPY))).toMatchObject({ records: [], fault: expect.stringContaining('compressed by snappy') });
    expect(await decodeBatches(withRecords(good, good.subarray(HEAD, good.length - 10), 0))).toMatchObject({ records: [], fault: expect.stringContaining('does not hold so many') });
    expect(await decodeBatches(withRecords(good, Buffer.concat([good.subarray(HEAD), Buffer.alloc(40)]), 0))).toMatchObject({ records: [], fault: expect.stringContaining('does not hold so many') });
  });

  test('a batch that is missing in the middle is a fault', async () => {
    const bytes = Buffer.concat([await batchBytes(0, 2), await batchBytes(3, 2)]);
    const { records, fault } = await decodeBatches(bytes);
    expect([valuesOf(records), fault]).toEqual([['v0', 'v1'], 'a record batch begins at offset 3, and the one before it ends at 1']);
  });
});

describe('what a fetch brought', () => {
  test('begins at the requested offset, in the middle of a batch as well', async () => {
    const batch = await fetchedBatch(2, await batchBytes(0, 4));
    expect([valuesOf(batch.messages), batch.fault, batch.lastOffset(), batch.offsetLag()]).toEqual([['v2', 'v3'], undefined, '3', '96']);
  });

  test.each([[0, 5], [7, 5]])('is a fault when offset %i was requested and 5 to 6 came', async (offset, first) => {
    const batch = await fetchedBatch(offset, await batchBytes(first, 2));
    expect([batch.messages, batch.fault, batch.isEmpty()]).toEqual([[], 'the broker sends offsets 5 to 6 instead', false]);
  });

  test('is a fault when nothing came although the log goes on, unless others took the room', async () => {
    const none = Buffer.alloc(0);
    expect(await fetchedBatch(40, none)).toMatchObject({ fault: 'the broker sends nothing, though its log goes on to 99' });
    for (const more of [{ isOfEmptyAnswer: false }, { highWatermark: '40', lastStableOffset: '40' }]) expect((await fetchedBatch(40, none, more)).isEmpty()).toBe(true);
    expect(await fetchedBatch(40, none, { lastStableOffset: '40' })).toMatchObject({ fault: undefined, heldAt: 40, following: 40 });
  });

  test('moves on over what ends a transaction: it has no message, and is handed on', async () => {
    const control = withRecords(await batchBytes(0, 1), (await batchBytes(0, 1)).subarray(HEAD), 0x20);
    const batch = await fetchedBatch(0, control);
    expect([batch.messages, batch.isEmpty(), batch.isEmptyDueToFiltering(), batch.following, batch.lastOffset()]).toEqual([[], false, false, 1, '0']);
  });
});
