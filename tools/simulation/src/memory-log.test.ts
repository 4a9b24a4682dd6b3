import { describeLog } from './contracts/log-contract.ts';
import { memoryLog } from './memory/memory-log.ts';

describeLog('in memory', async () => {
  const log = memoryLog({ partitions: 4 });
  const topic = 'test';
  return {
    topic,
    producer: log.producer,
    admin: log.admin,
    close: async () => undefined,
    entries: async () => [0, 1, 2, 3].flatMap((partition) => log.read(topic, partition, 0, 1_000).map(({ offset, key, value }) => ({ partition, offset, key: String(key), value: String(value) }))),
  };
});
