import { createConsumer, type KafkaClient } from '@lockstep/kafka';
import { topics } from '@lockstep/modules';
import { loop } from '@lockstep/telemetry';

import { HintAnswerer, type HintAnswererDeps } from './hint-answerer.ts';

export type ReadHintsDeps = HintAnswererDeps & { readonly kafka: KafkaClient; readonly onFatal: (error: unknown) => void };

const COMMIT_EVERY_MS = 1_000;
const ASK_AGAIN_EVERY_MS = 2_000;

/**
 * Consumes the stored hints until the signal ends it. An offset is committed once every hint before it is answered, so after a
 * crash the rest is looked at again.
 */
export async function readHints(deps: ReadHintsDeps): Promise<void> {
  const { kafka, log, signal, metrics, onFatal } = deps;
  const consumer = await createConsumer(kafka, { groupId: 'lockstep-reader', topics: [topics.notifications] });
  const answerer = new HintAnswerer(deps);
  const commit = async (): Promise<void> => {
    metrics.pending.set(answerer.waiting);
    const positions = answerer.committable;
    if (positions.length > 0) await consumer.commit(positions);
  };
  await consumer.run({
    onAssigned: async () => {
      answerer.forget();
      return [];
    },
    onRevoked: async () => undefined,
    onBatch: (batch) => answerer.take(batch),
    onUnreadable: (place, error) => log.error({ err: error, ...place }, 'hints of a partition cannot be read; catch-ups find what they announced'),
    onFatal,
  });
  const asking = loop({ name: 'hints that are asked again', everyMs: ASK_AGAIN_EVERY_MS, signal, log, body: () => answerer.askAgain() });
  await loop({ name: 'commit of hints', everyMs: COMMIT_EVERY_MS, signal, log, body: commit });
  await asking;
  await commit().catch((error: unknown) => log.warn({ err: error }, 'the last commit of hints failed; some will be looked at again'));
  await consumer.close();
  await answerer.closed();
}
