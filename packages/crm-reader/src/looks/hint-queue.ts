import type { Hint } from '@lockstep/notifications';

/** A hint that waits, what names it in the log, e.g. `hint 0/17`, and what is called once it has been answered. */
export type PendingHint = { readonly hint: Hint; readonly name: string; readonly answered: () => void };

/**
 * The hints of one module that wait for a look. Hints about the same record wait together: one look answers them all, as it
 * begins after the last of them came.
 */
export class HintQueue {
  /** What was put back: as long as a CRM answers nothing the same records are taken and put back, however many others wait. */
  #first = new Map<string, PendingHint[]>();
  readonly #others = new Map<string, PendingHint[]>();

  /** Records that wait. */
  get size(): number {
    return this.#first.size + this.#others.size;
  }

  add(pending: PendingHint): void {
    const { id } = pending.hint;
    const waiting = this.#first.get(id) ?? this.#others.get(id);
    if (waiting === undefined) this.#others.set(id, [pending]);
    else waiting.push(pending);
  }

  has(id: string): boolean {
    return this.#first.has(id) || this.#others.has(id);
  }

  /** The records that wait longest. */
  take(count: number): Map<string, PendingHint[]> {
    const taken = new Map<string, PendingHint[]>();
    for (const part of [this.#first, this.#others]) {
      for (const [id, pending] of part) {
        if (taken.size === count) return taken;
        taken.set(id, pending);
        part.delete(id);
      }
    }
    return taken;
  }

  /** Takes the records out of which every hint fits. @returns those hints. */
  takeWhole(fits: (pending: PendingHint) => boolean): PendingHint[] {
    const taken: PendingHint[] = [];
    for (const part of [this.#first, this.#others]) {
      for (const [id, pending] of part) {
        if (!pending.every(fits)) continue;
        taken.push(...pending);
        part.delete(id);
      }
    }
    return taken;
  }

  /** Puts back what could not be answered; it is before what came since. */
  putBack(taken: ReadonlyMap<string, readonly PendingHint[]>): void {
    const before = this.#first;
    this.#first = new Map([...taken].map(([id, pending]) => [id, [...pending, ...(before.get(id) ?? []), ...(this.#others.get(id) ?? [])]]));
    for (const [id, pending] of before) if (!taken.has(id)) this.#first.set(id, pending);
    for (const id of taken.keys()) this.#others.delete(id);
  }
}
