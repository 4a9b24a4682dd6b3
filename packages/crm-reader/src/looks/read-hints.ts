import { createConsumer, type KafkaClient } from '@lockstep/kafka';
import { topics } from '@lockstep/modules';
import { loop } from '@lockstep/telemetry';

import { HintAnswerer, type HintAnswererDeps } from './hint-answerer.ts';
import { UnreadHints, type UnreadHintsDeps } from './unread-hints.ts';

export type ReadHintsDeps = HintAnswererDeps &
  UnreadHintsDeps & {
    readonly kafka: KafkaClient;
    readonly onFatal: (error: unknown) => void;
    readonly groupId?: string;
    /** An open transaction of another producer that holds a partition for so long is reported; 20 s by default. */
    readonly heldMs?: number;
  };

const COMMIT_EVERY_MS = 1_000;
const ASK_AGAIN_EVERY_MS = 2_000;

/**
 * Consumes the stored hints until the signal ends it. An offset is committed once every hint before it is answered, so after a
 * crash the rest is looked at again.
 */
export async function readHints(deps: ReadHintsDeps): Promise<void> {
  const { kafka, log, signal, metrics, onFatal, topic = topics.notifications, groupId = 'lockstep-reader', heldMs } = deps;
  const consumer = await createConsumer(kafka, { groupId, topics: [topic], heldMs });
  const answerer = new HintAnswerer(deps);
  const unread = new UnreadHints(deps);
  const commit = async (): Promise<void> => {
    metrics.pending.set(answerer.waiting);
    const positions = answerer.committable;
    if (positions.length > 0) await consumer.commit(positions);
  };
  await consumer.run({
    onAssigned: async () => {
      answerer.forget();
      unread.clear();
      return [];
    },
    onRevoked: async () => undefined,
    onBatch: (batch) => {
      unread.remove(batch);
      return answerer.take(batch);
    },
    onUnreadable: (place, error) => unread.add(place, error),
    onFatal,
  });
  const asking = loop({ name: 'hints that are asked again', everyMs: ASK_AGAIN_EVERY_MS, signal, log, body: () => answerer.askAgain() });
  const noting = loop({ name: 'hints that cannot be read', everyMs: COMMIT_EVERY_MS, signal, log, body: () => unread.note() });
  await loop({ name: 'commit of hints', everyMs: COMMIT_EVERY_MS, signal, log, body: commit });
  await asking;
  await noting;
  unread.clear();
  await unread.note().catch((error: unknown) => log.warn({ err: error }, 'hints that could not be read stay noted for a minute'));
  await commit().catch((error: unknown) => log.warn({ err: error }, 'the last commit of hints failed; some will be looked at again'));
  await consumer.close();
  await answerer.closed();
}
