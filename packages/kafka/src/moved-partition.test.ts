import { createRequire } from 'node:module';

import { expect, test } from 'vitest';

import { PackedMessages } from './packed-messages.ts';

// It puts ours into the library, which is loaded afterwards.
await import('./kafkajs.ts');
const require = createRequire(import.meta.url);
type Create<D, T> = (deps: D) => T;
const createSend = require('kafkajs/src/producer/sendMessages.js') as Create<object, (request: object) => Promise<{ partition: number }[]>>;
const createRetry = require('kafkajs/src/retry/index.js') as Create<object, unknown>;
const { createErrorFromCode } = require('kafkajs/src/protocol/error.js') as { createErrorFromCode: (code: number) => Error };

const NOT_LEADER_FOR_PARTITION = 6;
type TopicData = readonly { readonly topic: string; readonly partitions: readonly { readonly partition: number }[] }[];

test('a partition that moves to a broker which has answered already is sent there by the next attempt', async () => {
  // One process has one broker to test with; so it is the library's own sending, with a cluster of two that is made up.
  const written: string[] = [];
  let leaders = ['A', 'B'];
  const firstHasAnswered = Promise.withResolvers<void>();
  const broker = (nodeId: string) => ({
    nodeId,
    produce: async ({ topicData }: { topicData: TopicData }) => {
      if (nodeId === 'B') {
        await firstHasAnswered.promise;
        leaders = ['A', 'A'];
        throw createErrorFromCode(NOT_LEADER_FOR_PARTITION);
      }
      written.push(...topicData.flatMap(({ partitions }) => partitions.map(({ partition }) => `${partition}`)));
      firstHasAnswered.resolve();
      return { topics: topicData.map(({ topic, partitions }) => ({ topicName: topic, partitions: partitions.map(({ partition }) => ({ partition, errorCode: 0, baseOffset: '0', logAppendTime: '-1' })) })) };
    },
  });
  const brokers: Readonly<Record<string, unknown>> = { A: broker('A'), B: broker('B') };
  const nothing = async (): Promise<void> => undefined;
  const send = createSend({
    logger: { debug: () => undefined, error: () => undefined },
    partitioner: () => 0,
    retrier: createRetry({ initialRetryTime: 1, retries: 3 }),
    eosManager: { acquireBrokerLock: nothing, releaseBrokerLock: nothing, isTransactional: () => false, getSequence: () => 0, updateSequence: () => undefined, getProducerId: () => -1, getProducerEpoch: () => 0 },
    cluster: {
      targetTopics: new Set(),
      addMultipleTargetTopics: nothing,
      refreshMetadataIfNecessary: nothing,
      refreshMetadata: nothing,
      isConnected: () => true,
      findTopicPartitionMetadata: () => leaders.map((leader, partitionId) => ({ partitionId, leader })),
      findLeaderForPartitions: (_: string, partitions: readonly string[]) => Object.fromEntries(Map.groupBy(partitions.map(Number), (partition) => leaders[partition])),
      findBroker: async ({ nodeId }: { nodeId: string }) => brokers[nodeId],
    },
  });
  const value = PackedMessages.of([{ key: 'a', value: '1', partition: 0 }, { key: 'b', value: '2', partition: 1 }]);
  const answers = await send({ acks: -1, compression: 0, topicMessages: [{ topic: 't', messages: [{ value }] }] });
  expect(answers.map(({ partition }) => partition)).toEqual([0, 1]);
  expect(written).toEqual(['0', '0', '1']);
});
