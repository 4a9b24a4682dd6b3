import { utcText } from './instants.ts';
import { truthOf, type TruthRecord } from './render/truth.ts';
import type { LiveRecord } from './store/live-record.ts';
import type { Change } from './store/organisation.ts';

/** One change of one record, and when it was notified. */
export type ChangeEntry = {
  /** Runs from 1. */
  readonly seq: number;
  readonly module: string;
  readonly id: string;
  readonly operation: Change['operation'];
  /** `Modified_Time` or time of the deletion, UTC. */
  readonly modifiedTime: string;
  /** When the change was made, by this machine's clock, epoch ms. */
  readonly madeAtMs: number;
  /** When its first notification left, by this machine's clock, epoch ms; null until then. */
  sentAtMs: number | null;
};

/** One version of one record: what it is since then, as the truth shows it; null once it is deleted. */
export type HistoryEntry = Pick<ChangeEntry, 'seq' | 'module' | 'id' | 'operation' | 'modifiedTime'> & {
  /** Whether `Modified_Time` moved to now: not by a formula, for a restored record, or by an import that gives a time of its own. */
  readonly movesTime: boolean;
  readonly record: TruthRecord | null;
};

/** Versions do not change, so they are rendered only when they are read. */
type Noted = { readonly entry: ChangeEntry; readonly isListed: boolean; readonly movesTime: boolean; readonly version: LiveRecord | null };

const SIZE = 100_000;

/** The last changes, for measurements from outside. */
export class ChangeLog {
  readonly #ring: Noted[] = [];
  #seq = 0;

  /** Notes a change of some of its ids, from the one at `from` on. @returns their entries, in order. */
  add(change: Change, from: number, to: number): readonly ChangeEntry[] {
    const madeAtMs = Date.now();
    const modifiedTime = utcText(change.changedMs);
    const isListed = change.movesTime || !change.isSilent;
    return change.ids.slice(from, to).map((id, at) => {
      const entry: ChangeEntry = { seq: ++this.#seq, module: change.module.apiName, id, operation: change.operation, modifiedTime, madeAtMs, sentAtMs: null };
      this.#ring[(entry.seq - 1) % SIZE] = { entry, isListed, movesTime: change.movesTime, version: change.records[from + at] ?? null };
      return entry;
    });
  }

  /** Entries made at or after `sinceMs` and numbered above `afterSeq`, in order; without those that neither moved a time nor were notified. */
  since(sinceMs: number, afterSeq: number, limit: number): readonly ChangeEntry[] {
    return this.#after(afterSeq, limit, ({ entry, isListed }) => isListed && entry.madeAtMs >= sinceMs).map(({ entry }) => entry);
  }

  /** Every version numbered above `afterSeq`, in order. A first number beyond the next one says that older ones are lost. */
  history(afterSeq: number, limit: number): readonly HistoryEntry[] {
    return this.#after(afterSeq, limit, () => true).map(({ entry: { seq, module, id, operation, modifiedTime }, movesTime, version }) => ({ seq, module, id, operation, modifiedTime, movesTime, record: version === null ? null : truthOf(version) }));
  }

  #after(afterSeq: number, limit: number, isWanted: (noted: Noted) => boolean): Noted[] {
    const found: Noted[] = [];
    for (let seq = Math.max(afterSeq, this.#seq - SIZE, 0) + 1; seq <= this.#seq && found.length < limit; seq++) {
      const noted = this.#ring[(seq - 1) % SIZE];
      if (noted !== undefined && isWanted(noted)) found.push(noted);
    }
    return found;
  }
}
