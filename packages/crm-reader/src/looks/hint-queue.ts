import type { Hint } from '@lockstep/notifications';

/** A hint that waits, what names it in the log, e.g. `hint 0/17`, and what is called once it has been answered. */
export type PendingHint = { readonly hint: Hint; readonly name: string; readonly answered: () => void };

/**
 * The hints of one module that wait for a look. Hints about the same record wait together: one look answers them all, as it
 * begins after the last of them came.
 */
export class HintQueue {
  readonly #byId = new Map<string, PendingHint[]>();

  /** Records that wait. */
  get size(): number {
    return this.#byId.size;
  }

  add(pending: PendingHint): void {
    const { id } = pending.hint;
    const waiting = this.#byId.get(id);
    if (waiting === undefined) this.#byId.set(id, [pending]);
    else waiting.push(pending);
  }

  has(id: string): boolean {
    return this.#byId.has(id);
  }

  /** The records that wait longest. */
  take(count: number): Map<string, PendingHint[]> {
    const taken = new Map<string, PendingHint[]>();
    for (const [id, pending] of this.#byId) {
      if (taken.size === count) break;
      taken.set(id, pending);
      this.#byId.delete(id);
    }
    return taken;
  }

  /** Takes the records out of which every hint fits. @returns those hints. */
  takeWhole(fits: (pending: PendingHint) => boolean): PendingHint[] {
    const taken: PendingHint[] = [];
    for (const [id, pending] of this.#byId) {
      if (!pending.every(fits)) continue;
      taken.push(...pending);
      this.#byId.delete(id);
    }
    return taken;
  }

  /** Puts back what could not be answered; it is before what came since. */
  putBack(taken: ReadonlyMap<string, readonly PendingHint[]>): void {
    const later = [...this.#byId];
    this.#byId.clear();
    for (const [id, pending] of taken) this.#byId.set(id, [...pending]);
    for (const [id, pending] of later) this.#byId.set(id, [...(this.#byId.get(id) ?? []), ...pending]);
  }
}
