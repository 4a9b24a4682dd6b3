import type { ConsumedBatch, ConsumedMessage, Position } from '@lockstep/kafka';
import { type ModuleDefinition, topics } from '@lockstep/modules';
import { decodeHint, type Hint, isOwnHint, NotificationError, ownHint } from '@lockstep/notifications';
import { HINTS_BACKLOG } from '@lockstep/postgres';

import type { DeadLetter } from '../dead-letters.ts';
import { Acknowledged } from './acknowledged.ts';
import { Deletions, type DeletionsDeps } from './deletions.ts';
import { Looker, type LookerDeps } from './looker.ts';

/** What looks and readings of the deleted list need, for all modules at once. */
export type HintAnswererDeps = Omit<LookerDeps & DeletionsDeps, 'module' | 'intervalMs' | 'moduleCount'> & {
  readonly modules: readonly ModuleDefinition[];
  /** Shortest time between two looks at a module that are not full. */
  readonly lookIntervalMs: number;
  /** Of the stored hints; another than Lockstep's own, for tests. */
  readonly topic?: string;
};

type Reader = { readonly looker: Looker; readonly deletions: Deletions };
type Place = { readonly partition: number; readonly offset: number };

/** Of each module. Beyond, hints wait in the database, so that no module waits for another. */
const MAX_WAITING = 5_000;
/** Records that are asked about again at once; their looks are ordinary ones only if no look at them has failed. */
const TAKEN_AT_ONCE = 500;

/**
 * Answers stored hints, each by a look or by a reading of the deleted list, and knows which are answered. What a module cannot answer now is noted in the
 * database and counts as answered: it is asked again from there.
 */
export class HintAnswerer {
  readonly #deps: HintAnswererDeps;
  readonly #readers: ReadonlyMap<string, Reader>;
  readonly #partitions = new Map<number, Acknowledged>();
  readonly #topic: string;

  constructor(deps: HintAnswererDeps) {
    this.#deps = deps;
    this.#topic = deps.topic ?? topics.notifications;
    this.#readers = new Map(deps.modules.map((module) => [module.apiName, { looker: new Looker({ ...deps, module, moduleCount: deps.modules.length, intervalMs: deps.lookIntervalMs }), deletions: new Deletions({ ...deps, module }) }]));
  }

  /** Records that wait for an answer. */
  get waiting(): number {
    return [...this.#readers.values()].reduce((sum, { looker, deletions }) => sum + looker.waiting + deletions.waiting, 0);
  }

  /** Where to go on after a restart: every hint before these offsets is answered. */
  get committable(): Position[] {
    return [...this.#partitions].map(([partition, acknowledged]) => ({ topic: this.#topic, partition, offset: acknowledged.committable }));
  }

  /** Takes a batch in; returns while its hints are still being answered. Waits for no module. */
  async take({ partition, from, messages, following }: Omit<ConsumedBatch, 'topic' | 'isLast'>): Promise<void> {
    const acknowledged = this.#partitions.get(partition) ?? new Acknowledged(from);
    this.#partitions.set(partition, acknowledged);
    const letters: DeadLetter[] = [];
    const later = new Map<string, Set<string>>();
    const settled: number[] = [];
    for (const message of messages) {
      const { offset } = message;
      const hint = hintOf(message);
      acknowledged.begin(offset);
      if (hint === null) letters.push({ source: 'hint', key: message.key?.toString() ?? '', position: { topic: this.#topic, partition, offset }, code: 'HINT_MALFORMED', cause: 'no stored hint' });
      if (hint !== null && this.#add(acknowledged, { partition, offset }, hint, later)) continue;
      settled.push(offset);
    }
    acknowledged.reach(following);
    // A poisoned hint is kept aside, and one that waits is noted, before its offset can be passed.
    await this.#deps.deadLetters.put(letters);
    for (const [module, ids] of later) {
      this.#readers.get(module)?.looker.putOff(ids);
      await this.#deps.aside.wait(module, [...ids]);
    }
    for (const offset of settled) acknowledged.end(offset);
  }

  /**
   * Takes up records that are due again, as far as there is room.
   * @returns true when more may be due.
   */
  async askAgain(): Promise<boolean> {
    const { aside, crm } = this.#deps;
    let isMore = false;
    for (const [module, { looker }] of this.#readers) {
      const room = looker.isFailing ? 0 : Math.min(TAKEN_AT_ONCE, MAX_WAITING - looker.waiting);
      const due = room <= 0 ? [] : await aside.take(module, room);
      for (const { id, code } of due) {
        const hint = ownHint(module, id, crm.time().earliestMs);
        if (code === HINTS_BACKLOG) looker.addNoted({ hint, name: 'hint that waited', answered: () => undefined });
        else looker.addSuspect({ hint, name: 'hint that was kept aside', answered: () => undefined });
      }
      isMore ||= due.length > 0 && due.length === room;
    }
    return isMore;
  }

  /** Partitions were assigned again: what was answered out of order is asked again. */
  forget(): void {
    this.#partitions.clear();
  }

  /** Settles once the work under way has ended; the signal ends it. */
  async closed(): Promise<void> {
    await Promise.all([...this.#readers.values()].map(({ deletions }) => deletions.running));
  }

  /** @returns false when the hint is settled as soon as `later` is noted. */
  #add(acknowledged: Acknowledged, { partition, offset }: Place, hint: Hint, later: Map<string, Set<string>>): boolean {
    const { module, id } = hint;
    const reader = this.#readers.get(module);
    if (reader === undefined) return false;
    const pending = { hint, name: `${isOwnHint(hint) ? 'own hint' : `hint of ${hint.operation}`} ${partition}/${offset}`, answered: () => acknowledged.end(offset) };
    if (hint.operation === 'delete') {
      // The next catch-up reads the same list.
      if (reader.deletions.waiting >= MAX_WAITING) return false;
      reader.deletions.add(pending);
      return true;
    }
    if (reader.looker.waiting < MAX_WAITING && !reader.looker.isAside(id)) {
      reader.looker.add(pending);
      return true;
    }
    later.set(module, (later.get(module) ?? new Set()).add(id));
    return false;
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
