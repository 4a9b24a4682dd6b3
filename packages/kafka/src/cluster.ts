import type { Kafka } from 'kafkajs';

import { KafkaError } from './errors.ts';

/** As much of kafkajs's connection to a cluster, and to one broker, as is needed. */
export type Cluster = {
  connect(): Promise<void>;
  refreshMetadata(): Promise<void>;
  disconnect(): Promise<void>;
  addTargetTopic(topic: string): Promise<void>;
  findControllerBroker(): Promise<Broker>;
  /** The partitions of each leader's node id. */
  findLeaderForPartitions(topic: string, partitions: readonly number[]): Readonly<Record<string, readonly number[]>>;
  findBroker(which: { readonly nodeId: string }): Promise<Broker>;
};

export type Broker = Record<symbol, ((protocol: unknown) => Promise<string>) | undefined> & {
  fetch(request: {
    readonly maxWaitTime: number;
    readonly minBytes: number;
    readonly maxBytes: number;
    readonly topics: readonly { readonly topic: string; readonly partitions: readonly { readonly partition: number; readonly fetchOffset: string; readonly maxBytes: number }[] }[];
  }): Promise<unknown>;
};

/** Connects to a cluster through kafkajs, which keeps its TLS and SASL. */
export async function connectCluster(kafka: Kafka): Promise<Cluster> {
  const create = (kafka as unknown as Record<symbol, (options: object) => Cluster>)[symbolNamed(kafka, 'private:Kafka:createCluster')];
  if (create === undefined) throw new KafkaError('kafkajs has no createCluster', 'KAFKAJS_VERSION');
  const cluster = create({ allowAutoTopicCreation: false });
  await cluster.connect();
  return cluster;
}

/** kafkajs keeps its inner methods under symbols it does not export. */
export function symbolNamed(object: object, description: string): symbol {
  for (let owner: object | null = object; owner !== null; owner = Object.getPrototypeOf(owner) as object | null) {
    const found = Object.getOwnPropertySymbols(owner).find((symbol) => symbol.description === description);
    if (found !== undefined) return found;
  }
  throw new KafkaError(`kafkajs has no ${description}`, 'KAFKAJS_VERSION');
}
