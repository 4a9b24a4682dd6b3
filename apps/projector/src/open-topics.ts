import type { Admin } from '@lockstep/kafka';
import { type ModuleDefinition, topicOf } from '@lockstep/modules';
import type { Database } from '@lockstep/postgres';
import { adoptMapping, ModuleProjection, ProjectionError, standingMapping } from '@lockstep/projection';
import type { Logger } from '@lockstep/telemetry';

/** A topic to be projected, checked. */
export type OpenTopic = {
  readonly topic: string;
  readonly topicId: string;
  readonly index: number;
  readonly projection: ModuleProjection;
  /** Set while mapping and table do not fit: nothing of the module is written. */
  readonly unfit?: Unfit | undefined;
};

/** Why a module's mapping was not adopted, and the fingerprint of the one that stood instead. */
export type Unfit = { readonly error: ProjectionError; readonly standing: string | null };

type OpenTopicsDeps = { admin: Admin; db: Database; modules: readonly ModuleDefinition[]; epsilonMs: number; isLocalStack: boolean; log: Logger };

/**
 * Checks each module's topic, compares its mapping with its table and adopts it. A module whose table does not fit is opened as unfit, and
 * does not keep the others from going on.
 * @throws {KafkaError} `TOPIC_MISSING` until the ingress has created it; else what `checkLogTopic` says.
 */
export async function openTopics({ admin, db, modules, epsilonMs, isLocalStack, log }: OpenTopicsDeps): Promise<Map<string, OpenTopic>> {
  const topics = new Map<string, OpenTopic>();
  for (const [index, module] of modules.entries()) {
    const topic = topicOf(module);
    await admin.checkLogTopic(topic, { allowSingleReplica: isLocalStack });
    const projection = new ModuleProjection(module, epsilonMs);
    const unfit = await adopt(db, projection);
    if (unfit === undefined && projection.notes.length > 0) log.warn({ module: module.apiName, notes: projection.notes }, 'mapping and table fit, with what may surprise');
    topics.set(topic, { topic, topicId: await admin.topicId(topic), index, projection, ...(unfit && { unfit }) });
  }
  return topics;
}

/** Adopts a module's mapping. @returns why not, where mapping and table do not fit. */
export async function adopt({ pool }: Pick<Database, 'pool'>, projection: ModuleProjection): Promise<Unfit | undefined> {
  try {
    await adoptMapping(pool, projection);
  } catch (error) {
    if (!isUnfit(error)) throw error;
    return { error, standing: await standingMapping(pool, projection) };
  }
}

/** Whether an error says that mapping and table do not fit; that ends when the table is changed. */
export const isUnfit = (error: unknown): error is ProjectionError =>
  error instanceof ProjectionError && (error.code === 'TABLE_UNFIT' || error.code === 'CASCADING_FOREIGN_KEY');
