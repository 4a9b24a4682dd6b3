import { type Admin, partitionOf, type Producer } from '@lockstep/kafka';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

/** A message as it stands in a log. */
export type LogEntry = { readonly partition: number; readonly offset: number; readonly key: string; readonly value: string };

/** A log to be held to the contract: one topic of four partitions. */
export type LogUnderTest = {
  readonly topic: string;
  readonly producer: Pick<Producer, 'send'>;
  readonly admin: Pick<Admin, 'topicId' | 'topicOffsets' | 'partitionsOf'>;
  /** Everything in the topic, once it holds so many messages. */
  entries(count: number): Promise<readonly LogEntry[]>;
  close(): Promise<void>;
};

/** What Lockstep needs of a log, whichever it is. */
export function describeLog(name: string, create: () => Promise<LogUnderTest>): void {
  describe(`the log (${name})`, () => {
    let log: LogUnderTest;
    beforeAll(async () => {
      log = await create();
    });
    afterAll(() => log.close());

    test('keeps every message, each key in one partition and in the order of sending, offsets without a gap', async () => {
      const keys = Array.from({ length: 40 }, (_, i) => `5725767000000000${String(i).padStart(3, '0')}`);
      await log.producer.send(log.topic, keys.map((key) => ({ key, value: 'first' })));
      await log.producer.send(log.topic, keys.map((key) => ({ key, value: Buffer.from('second') })));
      const entries = await log.entries(80);
      expect(entries).toHaveLength(80);
      for (const key of keys) {
        const own = entries.filter((entry) => entry.key === key);
        expect(own.map(({ value }) => value)).toEqual(['first', 'second']);
        expect(new Set(own.map(({ partition }) => partition)).size).toBe(1);
      }
      for (const [, own] of Map.groupBy(entries, ({ partition }) => partition)) expect(own.map(({ offset }) => offset)).toEqual(own.map((_, i) => i));
    });

    test('puts a key where any client that hashes as Java\'s does would put it', async () => {
      await log.producer.send(log.topic, [{ key: '5725701000000000001', value: 'x' }]);
      const entries = await log.entries(81);
      expect(entries.find(({ value }) => value === 'x')?.partition).toBe(partitionOf('5725701000000000001', 4));
    });

    test('takes a partition that is named, and reports the ends of all', async () => {
      expect(await log.admin.partitionsOf(log.topic)).toBe(4);
      const before = await log.admin.topicOffsets(log.topic);
      await log.producer.send(log.topic, [{ key: 'k', value: 'a', partition: 3 }, { key: 'k', value: 'b', partition: 3 }]);
      const after = await log.admin.topicOffsets(log.topic);
      const high = (offsets: typeof before): number[] => offsets.toSorted((a, b) => a.partition - b.partition).map((one) => one.high);
      expect(high(after)).toEqual(high(before).map((end, partition) => (partition === 3 ? end + 2 : end)));
      expect(after.map(({ low }) => low)).toEqual([0, 0, 0, 0]);
    });

    test('knows the topic by an id that stays', async () => {
      expect(await log.admin.topicId(log.topic)).toBe(await log.admin.topicId(log.topic));
    });
  });
}
