import { type Admin, type ConsumedMessage, partitionOf, type Position, type Producer } from '@lockstep/kafka';

/** Kafka's log as far as Lockstep needs it, in memory: topics, partitions by the key's hash, offsets, committed positions. */
export type MemoryLog = {
  readonly producer: Pick<Producer, 'send'>;
  readonly admin: Pick<Admin, 'topicId' | 'topicOffsets' | 'partitionsOf'>;
  /** Messages of a partition from an offset on. */
  read(topic: string, partition: number, from: number, limit: number): readonly ConsumedMessage[];
  /** The ends of a topic's partitions. */
  ends(topic: string): readonly { readonly low: number; readonly high: number }[];
  commit(group: string, positions: readonly Position[]): void;
  /** Where a group goes on; 0 where it never committed. */
  committed(group: string, topic: string, partition: number): number;
};

/** Some messages of a sending stand in the log, and the rest does not. */
export class SendHalved extends Error {
  constructor() {
    super('the connection broke in the middle of a sending');
    this.name = 'SendHalved';
  }
}

/**
 * An empty log. Every topic exists, with so many partitions.
 * @param keeps how many of so many messages of a sending are kept before it fails; all of them unless it does.
 */
export function memoryLog({ partitions, keeps = (count) => count }: { partitions: number; keeps?: (count: number) => number }): MemoryLog {
  const topics = new Map<string, ConsumedMessage[][]>();
  const positions = new Map<string, number>();
  const logOf = (topic: string): ConsumedMessage[][] => {
    const known = topics.get(topic) ?? Array.from({ length: partitions }, () => []);
    topics.set(topic, known);
    return known;
  };
  return {
    producer: {
      send: async (topic, messages) => {
        const sent = [...messages];
        const kept = keeps(sent.length);
        for (const { key, value, headers = {}, partition = partitionOf(key, partitions) } of sent.slice(0, kept)) {
          const list = logOf(topic)[partition];
          if (list === undefined) throw new RangeError(`${topic} has no partition ${partition}`);
          // As a wire would: what the sender does to its buffer afterwards changes nothing.
          list.push({ offset: list.length, key: Buffer.from(key), value: Buffer.from(value), timestampMs: 0, header: headerOf(headers) });
        }
        if (kept < sent.length) throw new SendHalved();
      },
    },
    admin: {
      topicId: async (topic) => `id-of-${topic}`,
      partitionsOf: async () => partitions,
      topicOffsets: async (topic) => logOf(topic).map((list, partition) => ({ partition, low: 0, high: list.length })),
    },
    read: (topic, partition, from, limit) => logOf(topic)[partition]?.slice(from, from + limit) ?? [],
    ends: (topic) => logOf(topic).map((list) => ({ low: 0, high: list.length })),
    commit: (group, list) => {
      for (const { topic, partition, offset } of list) positions.set(`${group}/${topic}/${partition}`, offset);
    },
    committed: (group, topic, partition) => positions.get(`${group}/${topic}/${partition}`) ?? 0,
  };
}

function headerOf(headers: Readonly<Record<string, Buffer | string>>): ConsumedMessage['header'] {
  const sent = new Map(Object.entries(headers).map(([name, value]) => [name, Buffer.from(value)]));
  return (name) => sent.get(name);
}
