/** What Kafka carries. Without a partition, the key's hash chooses it. */
export type ProducedMessage = {
  readonly key: Buffer | string;
  readonly value: Buffer | string;
  readonly headers?: Record<string, Buffer | string>;
  readonly partition?: number;
};
