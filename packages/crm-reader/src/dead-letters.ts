import { type Producer, sendBounded } from '@lockstep/kafka';
import { topics } from '@lockstep/modules';
import type { DeadLetterStore } from '@lockstep/postgres';

import type { ReaderMetrics } from './metrics.ts';

/** What could not be read, by reference: no copy of personal data. */
export type DeadLetter = {
  readonly source: 'hint' | 'bulk-row' | 'bulk' | 'look' | 'catch-up' | 'deleted-list';
  /** Where it stands: topic, partition and offset; or job and line. */
  readonly position: Readonly<Record<string, string | number>>;
  readonly code: string;
  readonly cause: string;
  readonly key: string;
};

/** Keeps what cannot be read, with position and cause, and lets the rest go on. */
export type DeadLetters = { put(letters: readonly DeadLetter[]): Promise<void> };

/** Dead letters in `crm.dead-letters`, for other applications, and in the database, where they count until they are settled. */
export const createDeadLetters = ({ producer, store, metrics }: { producer: Pick<Producer, 'send'>; store: Pick<DeadLetterStore, 'note'>; metrics: ReaderMetrics }): DeadLetters => ({
  put: async (letters) => {
    if (letters.length === 0) return;
    const messages = letters.map(({ key, ...letter }) => ({ key, value: JSON.stringify({ v: 1, ...letter }), headers: { 'content-type': 'application/json' } }));
    // References of some hundred bytes: none of them is too large.
    await sendBounded(producer, topics.deadLetters, messages, { timeoutMs: 30_000 });
    await store.note(letters);
    for (const { source } of letters) metrics.deadLetters.inc({ source });
  },
});
