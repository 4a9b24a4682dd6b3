import { setTimeout as delay } from 'node:timers/promises';
import { LocalStackError } from './errors.ts';
import { withAdmin } from './kafka-admin.ts';

/** A member that was killed stays in its group until its session has timed out. */
const withinMs = 30_000;

/**
 * Deletes every topic and every consumer group, and returns once the broker knows of none. Only for a broker that no one else
 * uses.
 * @throws {LocalStackError} `STACK_NOT_EMPTY` when something still uses it.
 */
export async function emptyKafka(brokers: readonly string[]): Promise<void> {
  const deadline = Date.now() + withinMs;
  for (let cause: unknown; ; await delay(100)) {
    const left = await withAdmin(brokers, async (admin) => {
      const topics = (await admin.listTopics()).filter((name) => !name.startsWith('__'));
      const groups = (await admin.listGroups()).groups.map(({ groupId }) => groupId);
      if (topics.length > 0) await admin.deleteTopics({ topics });
      if (groups.length > 0) await admin.deleteGroups(groups);
      return topics.length + groups.length;
    }).catch((error: unknown) => {
      cause = error;
      return Number.NaN;
    });
    if (left === 0) return;
    if (Date.now() > deadline) throw new LocalStackError(`Kafka could not be emptied within ${withinMs / 1000} s`, { code: 'STACK_NOT_EMPTY', cause });
  }
}
