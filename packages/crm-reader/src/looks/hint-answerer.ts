import type { CrmClient } from '@lockstep/crm-client';
import type { ConsumedBatch, ConsumedMessage, Position, Producer } from '@lockstep/kafka';
import { type ModuleDefinition, topics } from '@lockstep/modules';
import { decodeHint, type Hint, NotificationError } from '@lockstep/notifications';
import type { DeletionBreaker, Referrers, RegisterReader, WantedLooks } from '@lockstep/postgres';
import { type Logger, realTime, type Time } from '@lockstep/telemetry';

import type { DeadLetters } from '../dead-letters.ts';
import type { ReaderMetrics } from '../metrics.ts';
import { Acknowledged } from './acknowledged.ts';
import { Deletions } from './deletions.ts';
import { Looker } from './looker.ts';

export type HintAnswererDeps = {
  readonly modules: readonly ModuleDefinition[];
  readonly crm: Pick<CrmClient, 'lookAt' | 'deletedSince' | 'rules'>;
  readonly producer: Pick<Producer, 'send'>;
  readonly register: Pick<RegisterReader, 'known' | 'hidden'>;
  readonly breaker: Pick<DeletionBreaker, 'admits'>;
  readonly referrers: Referrers;
  readonly looks: Pick<WantedLooks, 'want'>;
  readonly deadLetters: DeadLetters;
  readonly metrics: ReaderMetrics;
  readonly log: Logger;
  /** Shortest time between two looks at a module that are not full. */
  readonly lookIntervalMs: number;
  readonly signal: AbortSignal;
  readonly time?: Time;
};

const MAX_WAITING = 5_000;
const ROOM_CHECK_MS = 50;

/** Answers stored hints, each by a look or by a reading of the deleted list, and knows which are answered. */
export class HintAnswerer {
  readonly #deps: HintAnswererDeps;
  readonly #readers: ReadonlyMap<string, { readonly looker: Looker; readonly deletions: Deletions }>;
  readonly #partitions = new Map<number, Acknowledged>();

  constructor(deps: HintAnswererDeps) {
    this.#deps = deps;
    this.#readers = new Map(deps.modules.map((module) => [module.apiName, { looker: new Looker({ ...deps, module, intervalMs: deps.lookIntervalMs }), deletions: new Deletions({ ...deps, module }) }]));
  }

  /** Records that wait for an answer. */
  get waiting(): number {
    return [...this.#readers.values()].reduce((sum, { looker, deletions }) => sum + looker.waiting + deletions.waiting, 0);
  }

  /** Where to go on after a restart: every hint before these offsets is answered. */
  get committable(): Position[] {
    return [...this.#partitions].map(([partition, acknowledged]) => ({ topic: topics.notifications, partition, offset: acknowledged.committable }));
  }

  /** Takes a batch in; returns while its hints are still being answered. */
  async take({ partition, messages }: Pick<ConsumedBatch, 'partition' | 'messages'>): Promise<void> {
    const { deadLetters, signal, time = realTime } = this.#deps;
    const acknowledged = this.#partitions.get(partition) ?? new Acknowledged(messages[0]?.offset ?? 0);
    this.#partitions.set(partition, acknowledged);
    for (const message of messages) {
      while (this.waiting >= MAX_WAITING && !signal.aborted) await time.sleep(ROOM_CHECK_MS, signal);
      const hint = hintOf(message);
      // A poisoned hint is kept aside before its offset can be passed.
      if (hint === null) await deadLetters.put([{ source: 'hint', key: message.key?.toString() ?? '', position: { topic: topics.notifications, partition, offset: message.offset }, code: 'HINT_MALFORMED', cause: 'no stored hint' }]);
      else this.#add(acknowledged, message.offset, hint);
    }
  }

  /** Partitions were assigned anew: what was answered out of order is asked again. */
  forget(): void {
    this.#partitions.clear();
  }

  /** Settles once the work under way has ended; the signal ends it. */
  async closed(): Promise<void> {
    await Promise.all([...this.#readers.values()].map(({ deletions }) => deletions.running));
  }

  #add(acknowledged: Acknowledged, offset: number, hint: Hint): void {
    acknowledged.begin(offset);
    const reader = this.#readers.get(hint.module);
    if (reader === undefined) return acknowledged.end(offset);
    const pending = { hint, answered: () => acknowledged.end(offset) };
    if (hint.operation === 'delete') reader.deletions.add(pending);
    else reader.looker.add(pending);
  }
}

function hintOf({ value }: ConsumedMessage): Hint | null {
  try {
    return decodeHint(value ?? '');
  } catch (error) {
    if (error instanceof NotificationError) return null;
    throw error;
  }
}
