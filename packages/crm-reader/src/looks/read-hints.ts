import { setTimeout as sleep } from 'node:timers/promises';

import type { CrmClient } from '@lockstep/crm-client';
import { type ConsumedBatch, type ConsumedMessage, createConsumer, type KafkaClient, type Producer } from '@lockstep/kafka';
import { type ModuleDefinition, topics } from '@lockstep/modules';
import { decodeHint, type Hint, NotificationError } from '@lockstep/notifications';
import type { DeletionBreaker, RegisterReader } from '@lockstep/postgres';
import { loop, type Logger } from '@lockstep/telemetry';

import type { DeadLetters } from '../dead-letters.ts';
import type { ReaderMetrics } from '../metrics.ts';
import { Acknowledged } from './acknowledged.ts';
import { Deletions } from './deletions.ts';
import { Looker } from './looker.ts';

export type ReadHintsDeps = {
  readonly kafka: KafkaClient;
  readonly modules: readonly ModuleDefinition[];
  readonly crm: CrmClient;
  readonly producer: Producer;
  readonly register: RegisterReader;
  readonly breaker: DeletionBreaker;
  readonly deadLetters: DeadLetters;
  readonly metrics: ReaderMetrics;
  readonly log: Logger;
  readonly intervalMs: number;
  readonly signal: AbortSignal;
  readonly onFatal: (error: unknown) => void;
};

const MAX_WAITING = 5_000;
const COMMIT_EVERY_MS = 1_000;

/**
 * Consumes the stored hints and answers each by a look or by a reading of the deleted list. An offset is committed once every
 * hint before it is answered, so after a crash the rest is looked at again.
 */
export async function readHints(deps: ReadHintsDeps): Promise<void> {
  const { kafka, modules, log, signal, deadLetters, metrics, onFatal } = deps;
  const consumer = await createConsumer(kafka, { groupId: 'lockstep-reader', topics: [topics.notifications] });
  const readers = new Map(modules.map((module) => [module.apiName, { looker: new Looker({ ...deps, module }), deletions: new Deletions({ ...deps, module }) }]));
  const partitions = new Map<number, Acknowledged>();
  const waiting = (): number => [...readers.values()].reduce((sum, { looker, deletions }) => sum + looker.waiting + deletions.waiting, 0);

  const commit = async (): Promise<void> => {
    metrics.pending.set(waiting());
    const positions = [...partitions].map(([partition, acknowledged]) => ({ topic: topics.notifications, partition, offset: acknowledged.committable }));
    if (positions.length > 0) await consumer.commit(positions);
  };
  const take = (acknowledged: Acknowledged, message: ConsumedMessage, hint: Hint): void => {
    acknowledged.begin(message.offset);
    const reader = readers.get(hint.module);
    if (reader === undefined) return acknowledged.end(message.offset);
    const pending = { hint, answered: () => acknowledged.end(message.offset) };
    if (hint.operation === 'delete') reader.deletions.add(pending);
    else reader.looker.add(pending);
  };
  const onBatch = async ({ partition, messages }: ConsumedBatch): Promise<void> => {
    const acknowledged = partitions.get(partition) ?? new Acknowledged(messages[0]?.offset ?? 0);
    partitions.set(partition, acknowledged);
    for (const message of messages) {
      while (waiting() >= MAX_WAITING && !signal.aborted) await sleep(50, undefined, { signal }).catch(() => undefined);
      const hint = hintOf(message);
      // A poisoned hint is kept aside before its offset can be passed.
      if (hint === null) await deadLetters.put([{ source: 'hint', key: message.key?.toString() ?? '', position: { topic: topics.notifications, partition, offset: message.offset }, code: 'HINT_MALFORMED', cause: 'no stored hint' }]);
      else take(acknowledged, message, hint);
    }
  };

  await consumer.run({
    onAssigned: async () => {
      partitions.clear();
      return [];
    },
    onRevoked: async () => undefined,
    onBatch,
    onFatal,
  });
  await loop({ name: 'commit of hints', everyMs: COMMIT_EVERY_MS, signal, log, body: commit });
  await commit().catch((error: unknown) => log.warn({ err: error }, 'the last commit of hints failed; some will be looked at again'));
  await consumer.close();
  await Promise.all([...readers.values()].map(({ deletions }) => deletions.running));
}

function hintOf({ value }: ConsumedMessage): Hint | null {
  try {
    return decodeHint(value ?? '');
  } catch (error) {
    if (error instanceof NotificationError) return null;
    throw error;
  }
}
