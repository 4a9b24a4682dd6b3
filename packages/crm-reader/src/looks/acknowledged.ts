/**
 * Which offsets of a partition are done with. Hints are answered out of order; the committed offset may only pass those that
 * are all answered, so that a restart looks again at the rest.
 */
export class Acknowledged {
  readonly #open = new Set<number>();
  #next: number;

  constructor(firstOffset: number) {
    this.#next = firstOffset;
  }

  /** Notes an offset that is being worked on. */
  begin(offset: number): void {
    this.#open.add(offset);
    this.#next = Math.max(this.#next, offset + 1);
  }

  /** Notes that nothing else is to be done before this offset. */
  reach(offset: number): void {
    this.#next = Math.max(this.#next, offset);
  }

  end(offset: number): void {
    this.#open.delete(offset);
  }

  /** The offset to go on from after a restart. */
  get committable(): number {
    let least = this.#next;
    // All of them: a batch that is handed on again begins offsets that were answered.
    for (const offset of this.#open) least = Math.min(least, offset);
    return least;
  }
}
