import type { Admin } from '@lockstep/kafka';
import { type ModuleDefinition, topicOf, topics } from '@lockstep/modules';

const DAY_MS = 24 * 60 * 60 * 1000;

/** Creates what is missing. Record topics are kept forever and never compacted: the tables are rebuilt from them. */
export const ensureTopics = (admin: Pick<Admin, 'ensureTopics'>, modules: readonly ModuleDefinition[], partitions: number): Promise<void> =>
  admin.ensureTopics([
    { topic: topics.notifications, partitions, config: { 'cleanup.policy': 'delete', 'retention.ms': String(30 * DAY_MS) } },
    { topic: topics.deadLetters, partitions: 1, config: { 'cleanup.policy': 'delete', 'retention.ms': String(90 * DAY_MS) } },
    ...modules.map((module) => ({ topic: topicOf(module), partitions, config: { 'cleanup.policy': 'delete', 'retention.ms': '-1', 'retention.bytes': '-1' } })),
  ]);
