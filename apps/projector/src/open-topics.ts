import type { Admin } from '@lockstep/kafka';
import { type ModuleDefinition, topicOf } from '@lockstep/modules';
import type { Database } from '@lockstep/postgres';
import { adoptMapping, ModuleProjection } from '@lockstep/projection';

/** A topic to be projected, checked. */
export type OpenTopic = { readonly topic: string; readonly topicId: string; readonly index: number; readonly projection: ModuleProjection };

/**
 * Checks each module's topic and adopts its mapping.
 * @throws {KafkaError} `TOPIC_MISSING` until the ingress has created it; else what `checkLogTopic` says.
 * @throws {ProjectionError} `CASCADING_FOREIGN_KEY`
 */
export async function openTopics({ admin, db, modules, epsilonMs, isLocalStack }: { admin: Admin; db: Database; modules: readonly ModuleDefinition[]; epsilonMs: number; isLocalStack: boolean }): Promise<Map<string, OpenTopic>> {
  const topics = new Map<string, OpenTopic>();
  for (const [index, module] of modules.entries()) {
    const topic = topicOf(module);
    await admin.checkLogTopic(topic, { allowSingleReplica: isLocalStack });
    const projection = new ModuleProjection(module, epsilonMs);
    await adoptMapping(db.pool, projection);
    topics.set(topic, { topic, topicId: await admin.topicId(topic), index, projection });
  }
  return topics;
}
