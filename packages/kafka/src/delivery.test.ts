import { createLogger } from '@lockstep/telemetry';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import type { Position, TopicPartition } from './consumer.ts';
import { Delivery } from './delivery.ts';
import type { KafkaError } from './errors.ts';
import type { FetchedBatch } from './fetched-batch.ts';
import { batchBytes, fetchedBatch, valuesOf } from './testing.ts';

const log = createLogger({ app: 'test', level: 'silent', isPretty: false });
const place: TopicPartition = { topic: 't', partition: 0 };
const other: TopicPartition = { topic: 't', partition: 1 };

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }));
afterEach(() => void vi.useRealTimers());

/** A delivery whose kafkajs only notes what it is called with. */
function start(positions: (assigned: readonly TopicPartition[]) => Promise<Position[]> = async (assigned) => assigned.map((one) => ({ ...one, offset: 0 }))) {
  const ends: boolean[] = [];
  const handed: string[] = [];
  const unreadable: KafkaError[] = [];
  const seeks: string[] = [];
  const paused = new Set<number>();
  const revoked: TopicPartition[] = [];
  const fatal: KafkaError[] = [];
  let beforeHandling = (): void => undefined;
  const delivery = new Delivery({
    log,
    consumer: {
      seek: ({ partition, offset }) => void seeks.push(`${partition}@${offset}`),
      pause: (topics) => topics.forEach(({ partitions = [] }) => partitions.forEach((one) => paused.add(one))),
      resume: (topics) => topics.forEach(({ partitions = [] }) => partitions.forEach((one) => paused.delete(one))),
    },
    handlers: {
      onAssigned: positions,
      onRevoked: async (list) => void revoked.push(...list),
      onBatch: async ({ messages, isLast }) => {
        handed.push(...valuesOf(messages));
        ends.push(isLast);
        beforeHandling();
      },
      onUnreadable: (_, error) => void unreadable.push(error),
      onFatal: (error) => void fatal.push(error),
    },
  });
  const deliver = (batch: FetchedBatch): Promise<void> => delivery.deliver({ batch, heartbeat: async () => undefined });
  return { delivery, deliver, handed, ends, unreadable, seeks, paused, revoked, fatal, inHandler: (work: () => void) => void (beforeHandling = work) };
}

const from = async (first: number, count: number, fetchedOffset = first, more = {}): Promise<FetchedBatch> => await fetchedBatch(fetchedOffset, await batchBytes(first, count), more);
const broken = (offset: number): Promise<FetchedBatch> => fetchedBatch(offset, Buffer.alloc(70));

describe('positions', () => {
  test('batches wait until the positions of their assignment are known', async () => {
    const known = Promise.withResolvers<Position[]>();
    const { delivery, deliver, handed } = start(() => known.promise);
    delivery.assign([place]);
    const delivered = deliver(await from(0, 3));
    await Promise.resolve();
    expect(handed).toEqual([]);
    known.resolve([{ ...place, offset: 2 }]);
    await delivered;
    expect(handed).toEqual(['v2']);
  });

  test('a batch of a partition that is not ours is dropped', async () => {
    const { delivery, deliver, handed } = start();
    await deliver(await from(0, 3));
    delivery.assign([other]);
    await deliver(await from(0, 3));
    expect(handed).toEqual([]);
  });

  test('of an assignment that is over do not come after those of the present one', async () => {
    const first = Promise.withResolvers<Position[]>();
    let calls = 0;
    const { delivery, deliver, handed, seeks, revoked } = start(() => ((calls += 1) === 1 ? first.promise : Promise.resolve([{ ...place, offset: 2 }])));
    delivery.assign([place, other]);
    delivery.assign([place]);
    const delivered = deliver(await from(0, 3));
    first.resolve([{ ...place, offset: 0 }, { ...other, offset: 0 }]);
    await delivered;
    expect([handed, seeks, revoked]).toEqual([['v2'], ['0@2'], [other]]);
  });

  test('that cannot be known are fatal', async () => {
    const { delivery, deliver, fatal } = start(() => Promise.reject(new Error('away')));
    delivery.assign([place]);
    await expect(deliver(await from(0, 1))).rejects.toThrow('away');
    expect(fatal.map(({ code }) => code)).toEqual(['KAFKA_CONSUMER_CRASHED']);
  });

  test('may lie within a batch, which comes whole', async () => {
    const { delivery, deliver, handed } = start(async () => [{ ...place, offset: 2 }]);
    delivery.assign([place]);
    await deliver(await from(0, 4, 2));
    expect(handed).toEqual(['v2', 'v3']);
  });

  test('a batch says whether the log ended with it when it was fetched', async () => {
    const { delivery, deliver, ends } = start();
    delivery.assign([place]);
    await deliver(await from(0, 3, 0, { highWatermark: '6' }));
    await deliver(await from(3, 3, 3, { highWatermark: '6' }));
    expect(ends).toEqual([false, true]);
  });

  test('what was handed on already is left out', async () => {
    const { delivery, deliver, handed } = start();
    delivery.assign([place]);
    await deliver(await from(0, 2));
    delivery.seek({ ...place, offset: 2 });
    await deliver(await from(0, 4, 1));
    await deliver(await from(0, 4, 0));
    await deliver(await from(0, 5, 0));
    expect(handed).toEqual(['v0', 'v1', 'v2', 'v3', 'v4']);
  });

  test('a batch that the handler refused comes again, unless a seek has decided otherwise', async () => {
    const { delivery, deliver, handed, inHandler } = start();
    const refuse = (): never => {
      throw new Error('not this time');
    };
    delivery.assign([place]);
    inHandler(refuse);
    await expect(deliver(await from(0, 2))).rejects.toThrow('not this time');
    inHandler(() => undefined);
    await deliver(await from(0, 2));
    expect(handed.splice(0)).toEqual(['v0', 'v1', 'v0', 'v1']);
    inHandler(() => {
      delivery.seek({ ...place, offset: 0 });
      refuse();
    });
    await expect(deliver(await from(2, 2))).rejects.toThrow('not this time');
    inHandler(() => undefined);
    await deliver(await from(0, 1));
    expect(handed).toEqual(['v2', 'v3', 'v0']);
  });
});

describe('a batch that begins behind the next offset', () => {
  test('was fetched before a seek: it is fetched again, and nothing is skipped', async () => {
    const { delivery, deliver, handed, seeks, unreadable } = start();
    delivery.assign([place]);
    await deliver(await from(5, 2));
    expect([handed, seeks]).toEqual([[], ['0@0', '0@0']]);
    await deliver(await from(0, 2));
    expect([handed, unreadable]).toEqual([['v0', 'v1'], []]);
  });

  test('a second time means that the offset is lost: the partition stays paused', async () => {
    const { delivery, deliver, handed, unreadable, paused } = start();
    delivery.assign([place]);
    await deliver(await from(5, 2));
    await deliver(await from(5, 2));
    await vi.advanceTimersByTimeAsync(600_000);
    expect([handed, unreadable.map(({ code }) => code), [...paused]]).toEqual([[], ['OFFSETS_LOST'], [0]]);
    delivery.assign([place]);
    expect([...paused]).toEqual([]);
  });

  test('each seek of the application counts from the beginning', async () => {
    const { delivery, deliver, unreadable } = start();
    delivery.assign([place]);
    for (const offset of [4, 3, 2]) {
      delivery.seek({ ...place, offset });
      await deliver(await from(5, 2));
    }
    expect(unreadable).toEqual([]);
  });

  test('of a group without positions of its own is where it goes on', async () => {
    const { delivery, deliver, handed, unreadable } = start(async () => []);
    delivery.assign([place]);
    await deliver(await from(0, 1));
    await deliver(await from(5, 1));
    await deliver(await from(5, 1));
    await deliver(await from(6, 1));
    expect([handed, unreadable]).toEqual([['v0', 'v5', 'v6'], []]);
  });

  test('a log whose end is gone is lost as well, although it begins before', async () => {
    const { delivery, deliver, handed, unreadable } = start(async () => [{ ...place, offset: 50 }]);
    delivery.assign([place]);
    for (let times = 0; times < 2; times += 1) await deliver(await from(0, 60, 0, { highWatermark: '45' }));
    expect([handed, unreadable.map(({ code }) => code)]).toEqual([[], ['OFFSETS_LOST']]);
  });
});

describe('a partition that cannot be read on', () => {
  test('gives what comes before, and is read again with longer and longer pauses', async () => {
    const { delivery, deliver, handed, unreadable, paused, seeks } = start();
    delivery.assign([place, other]);
    await deliver(await fetchedBatch(0, Buffer.concat([await batchBytes(0, 2), Buffer.alloc(70)])));
    expect([handed, [...paused], seeks.at(-1)]).toEqual([['v0', 'v1'], [0], '0@2']);
    for (const waitMs of [200, 400, 800, 1_600]) {
      await vi.advanceTimersByTimeAsync(waitMs - 1);
      expect([...paused]).toEqual([0]);
      await vi.advanceTimersByTimeAsync(1);
      expect([...paused]).toEqual([]);
      await deliver(await broken(2));
    }
    expect(unreadable.map(({ code, message }) => [code, message])).toEqual([['LOG_CORRUPT', 't/0 cannot be read at offset 2: a record batch says it is 0 bytes long']]);
  });

  test('as an open transaction of another producer holds it is reported once, after 20 s at the same offset', async () => {
    const { delivery, deliver, unreadable } = start();
    delivery.assign([place]);
    const held = (at: number): Promise<FetchedBatch> => fetchedBatch(at, Buffer.alloc(0), { lastStableOffset: String(at) });
    await deliver(await held(0));
    await vi.advanceTimersByTimeAsync(19_000);
    await deliver(await from(0, 2));
    for (const waitMs of [0, 19_999, 1, 60_000]) {
      await vi.advanceTimersByTimeAsync(waitMs);
      await deliver(await held(2));
      expect(unreadable.length).toBe(waitMs === 1 || waitMs === 60_000 ? 1 : 0);
    }
    expect(unreadable[0]).toMatchObject({ code: 'TRANSACTION_OPEN', message: expect.stringContaining('at offset 2') as string });
  });

  test('as it begins in the middle of an open transaction is reported with where that begins', async () => {
    const { delivery, deliver, unreadable } = start(async () => [{ ...place, offset: 5 }]);
    delivery.assign([place]);
    for (const waitMs of [0, 20_000]) {
      await vi.advanceTimersByTimeAsync(waitMs);
      await deliver(await fetchedBatch(5, Buffer.alloc(0), { lastStableOffset: '3' }));
    }
    expect(unreadable.map(({ message }) => message)).toEqual([expect.stringContaining('--start-offset 3')]);
  });

  test('goes on by itself once it can be read', async () => {
    const { delivery, deliver, handed, paused, unreadable } = start();
    delivery.assign([place]);
    for (let times = 0; times < 3; times += 1) await deliver(await broken(0));
    await vi.advanceTimersByTimeAsync(60_000);
    await deliver(await from(0, 2));
    await deliver(await broken(2));
    await vi.advanceTimersByTimeAsync(200);
    expect([handed, [...paused], unreadable.length]).toEqual([['v0', 'v1'], [], 1]);
  });

  test('is not reported when it reads the second time', async () => {
    const { delivery, deliver, handed, unreadable } = start();
    delivery.assign([place]);
    await deliver(await broken(0));
    await deliver(await from(0, 2));
    expect([handed, unreadable]).toEqual([['v0', 'v1'], []]);
  });

  test('stays paused where the application paused it', async () => {
    const { delivery, deliver, paused } = start();
    delivery.assign([place]);
    await deliver(await broken(0));
    delivery.pause([place]);
    await vi.advanceTimersByTimeAsync(60_000);
    delivery.assign([place]);
    expect([...paused]).toEqual([0]);
    delivery.resume([place]);
    expect([...paused]).toEqual([]);
  });

  test('is no longer paused once it is assigned again, and its timer is gone with it', async () => {
    const { delivery, deliver, paused } = start();
    delivery.assign([place]);
    await deliver(await broken(0));
    delivery.assign([other]);
    expect([[...paused], vi.getTimerCount()]).toEqual([[], 0]);
    delivery.assign([place]);
    await deliver(await broken(0));
    delivery.close();
    expect(vi.getTimerCount()).toBe(0);
  });

  test('holds a batch that says it begins within the one before', async () => {
    const { delivery, deliver, handed, seeks } = start();
    delivery.assign([place]);
    await deliver(await from(0, 5));
    await deliver(await from(4, 5, 5));
    expect([handed, seeks.at(-1)]).toEqual([['v0', 'v1', 'v2', 'v3', 'v4'], '0@5']);
  });
});
