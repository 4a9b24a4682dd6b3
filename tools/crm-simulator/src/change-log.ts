import { utcText } from './instants.ts';
import type { Change } from './store/organisation.ts';

/** One change of one record, and when it was told. */
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

const SIZE = 100_000;

/** The last changes, for measurements from outside. */
export class ChangeLog {
  readonly #ring: ChangeEntry[] = [];
  #seq = 0;

  add(change: Change, ids: readonly string[]): readonly ChangeEntry[] {
    const madeAtMs = Date.now();
    const modifiedTime = utcText(change.changedMs);
    const entries = ids.map((id): ChangeEntry => ({ seq: ++this.#seq, module: change.module.apiName, id, operation: change.operation, modifiedTime, madeAtMs, sentAtMs: null }));
    for (const entry of entries) this.#ring[(entry.seq - 1) % SIZE] = entry;
    return entries;
  }

  /** Entries made at or after `sinceMs` and numbered above `afterSeq`, in order. */
  since(sinceMs: number, afterSeq: number, limit: number): readonly ChangeEntry[] {
    const found: ChangeEntry[] = [];
    for (let seq = Math.max(afterSeq, this.#seq - SIZE, 0) + 1; seq <= this.#seq && found.length < limit; seq++) {
      const entry = this.#ring[(seq - 1) % SIZE];
      if (entry !== undefined && entry.madeAtMs >= sinceMs) found.push(entry);
    }
    return found;
  }
}
