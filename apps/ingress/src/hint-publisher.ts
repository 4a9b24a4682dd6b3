import { type ProducedMessage, type Producer, sendBounded } from '@lockstep/kafka';
import { topics } from '@lockstep/modules';
import { encodeHint, type Hint } from '@lockstep/notifications';

import { OverloadedError } from './errors.ts';

/** Stores hints; resolves once every replica in sync has them. */
export type HintPublisher = {
  /** @throws {KafkaError} while Kafka is away; {@link OverloadedError} when too many wait for it. */
  publish(hints: readonly Hint[]): Promise<void>;
};

const MAX_WAITING = 20_000;
const ANSWER_WITHIN_MS = 3_000;

/**
 * Sends the hints of all requests that came while the last send was under way as one: a burst costs few round trips, and a
 * single request waits for no other.
 */
export function createHintPublisher(producer: Pick<Producer, 'send'>, topic: string = topics.notifications): HintPublisher {
  type Waiting = { readonly messages: readonly ProducedMessage[]; readonly done: PromiseWithResolvers<void> };
  let waiting: Waiting[] = [];
  let waitingMessages = 0;
  let inFlight = 0;

  const sendNext = async (): Promise<void> => {
    const batch = waiting;
    waiting = [];
    inFlight += 1;
    const messages = batch.flatMap((one) => one.messages);
    try {
      // A hint is of some hundred bytes: none of them is too large.
      await sendBounded(producer, topic, messages, { timeoutMs: ANSWER_WITHIN_MS });
      for (const { done } of batch) done.resolve();
    } catch (error) {
      for (const { done } of batch) done.reject(error);
    }
    inFlight -= 1;
    waitingMessages -= messages.length;
    if (waiting.length > 0) void sendNext(); // Never rejects: failures go to those who wait.
  };

  return {
    publish: async (hints) => {
      if (waitingMessages + hints.length > MAX_WAITING) throw new OverloadedError();
      const done = Promise.withResolvers<void>();
      waiting.push({ messages: hints.map((hint) => ({ key: hint.id, value: encodeHint(hint) })), done });
      waitingMessages += hints.length;
      if (inFlight < 2) void sendNext(); // Never rejects, as above.
      await done.promise;
    },
  };
}
