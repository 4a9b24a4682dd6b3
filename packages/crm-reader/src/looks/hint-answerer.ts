import type { ConsumedBatch, ConsumedMessage, Position } from '@lockstep/kafka';
import { type ModuleDefinition, topics } from '@lockstep/modules';
import { decodeHint, type Hint, isOwnHint, NotificationError } from '@lockstep/notifications';
import { realTime } from '@lockstep/telemetry';

import { Acknowledged } from './acknowledged.ts';
import { Deletions, type DeletionsDeps } from './deletions.ts';
import { Looker, type LookerDeps } from './looker.ts';

/** What looks and readings of the deleted list need, for all modules at once. */
export type HintAnswererDeps = Omit<LookerDeps & DeletionsDeps, 'module' | 'intervalMs'> & {
  readonly modules: readonly ModuleDefinition[];
  /** Shortest time between two looks at a module that are not full. */
  readonly lookIntervalMs: number;
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
      else this.#add(acknowledged, { partition, offset: message.offset }, hint);
    }
  }

  /** Partitions were assigned again: what was answered out of order is asked again. */
  forget(): void {
    this.#partitions.clear();
  }

  /** Settles once the work under way has ended; the signal ends it. */
  async closed(): Promise<void> {
    await Promise.all([...this.#readers.values()].map(({ deletions }) => deletions.running));
  }

  #add(acknowledged: Acknowledged, { partition, offset }: { readonly partition: number; readonly offset: number }, hint: Hint): void {
    acknowledged.begin(offset);
    const reader = this.#readers.get(hint.module);
    if (reader === undefined) return acknowledged.end(offset);
    const pending = { hint, name: `${isOwnHint(hint) ? 'own hint' : `hint of ${hint.operation}`} ${partition}/${offset}`, answered: () => acknowledged.end(offset) };
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
