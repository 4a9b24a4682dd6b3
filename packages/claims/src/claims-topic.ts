import type { Admin } from '@lockstep/kafka';
import { topics } from '@lockstep/modules';

/** Creates the topic of claims where it is missing: one partition, kept forever. Its times are the broker's, which bears witness to when something was claimed. */
export const ensureClaimsTopic = (admin: Pick<Admin, 'ensureTopics'>): Promise<void> =>
  admin.ensureTopics([{ topic: topics.claims, partitions: 1, config: { 'cleanup.policy': 'delete', 'retention.ms': '-1', 'retention.bytes': '-1', 'message.timestamp.type': 'LogAppendTime' } }]);
