type Bucket = { readonly keys: Set<number>; sorted: readonly number[] | null };

/** The records changed since the start, by second and key: `Modified_Time` windows read only what they hold. */
export class ModifiedIndex {
  readonly #seconds: number[] = [];
  readonly #buckets = new Map<number, Bucket>();

  add(ms: number, key: number): void {
    let bucket = this.#buckets.get(ms);
    if (bucket === undefined) {
      bucket = { keys: new Set(), sorted: null };
      this.#buckets.set(ms, bucket);
      this.#seconds.splice(this.#from(ms), 0, ms);
    }
    bucket.keys.add(key);
    bucket.sorted = null;
  }

  remove(ms: number, key: number): void {
    const bucket = this.#buckets.get(ms);
    if (bucket?.keys.delete(key) !== true) return;
    bucket.sorted = null;
    if (bucket.keys.size > 0) return;
    this.#buckets.delete(ms);
    this.#seconds.splice(this.#from(ms), 1);
  }

  /** How many keys lie in [fromMs, toMs]. */
  count(fromMs: number, toMs: number): number {
    let count = 0;
    for (let at = this.#from(fromMs); at < this.#seconds.length && (this.#seconds[at] as number) <= toMs; at++) {
      count += this.#buckets.get(this.#seconds[at] as number)?.keys.size ?? 0;
    }
    return count;
  }

  /** @returns the first second that is later than `ms`, up to `toMs`. */
  firstAfter(ms: number, toMs: number): number | undefined {
    const found = this.#seconds[this.#from(ms + 1)];
    return found === undefined || found > toMs ? undefined : found;
  }

  /** @returns the last second that is earlier than `ms`, down to `fromMs`. */
  lastBefore(ms: number, fromMs: number): number | undefined {
    const found = this.#seconds[this.#from(ms) - 1];
    return found === undefined || found < fromMs ? undefined : found;
  }

  /** The keys of a second, ascending; a copy that later changes leave alone. */
  keys(ms: number): readonly number[] {
    const bucket = this.#buckets.get(ms);
    if (bucket === undefined) return [];
    bucket.sorted ??= [...bucket.keys].toSorted((a, b) => a - b);
    return bucket.sorted;
  }

  /** Position of the first second that is not before `ms`. Time only moves on, so the end is tried first. */
  #from(ms: number): number {
    const last = this.#seconds.at(-1);
    if (last === undefined || last < ms) return this.#seconds.length;
    let [low, high] = [0, this.#seconds.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#seconds[middle] as number) < ms) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
