/** Messages of a partition that were fetched together: the offset after them, and when the broker stored the first of them (epoch milliseconds). */
type Fetched = { readonly end: number; readonly storedAtMs: number };

/** Knows how old the oldest message of a partition is that was fetched and is not applied. */
export class Unapplied {
  #fetched: Fetched[] = [];

  note(fetched: Fetched): void {
    this.#fetched = this.#fetched.filter(({ end }) => end < fetched.end);
    this.#fetched.push(fetched);
  }

  /** @param next the next offset to be applied. @returns epoch milliseconds, of a fetch the first message's; null where all is applied. */
  oldestAtMs(next: number): number | null {
    while ((this.#fetched[0]?.end ?? Number.POSITIVE_INFINITY) <= next) this.#fetched.shift();
    return this.#fetched[0]?.storedAtMs ?? null;
  }
}
