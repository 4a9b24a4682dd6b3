/** The CRM allows ten in a minute, and after one more refuses all until the minute is over: two are left to other readers. */
export const DOWNLOADS_PER_MINUTE = 8;
const MINUTE_MS = 60_000;

/** How often results are downloaded: only so many are begun in any minute, and none within a minute of a refusal. */
export class DownloadPace {
  readonly #perMinute: number;
  #begun: number[] = [];
  #refusedAt = Number.NEGATIVE_INFINITY;

  /** @param perMinute 0 lifts the limit. */
  constructor(perMinute: number) {
    this.#perMinute = perMinute;
  }

  /** How long the next download has to wait. All moments are of the monotonic clock. */
  waitMs(now: number): number {
    if (this.#perMinute === 0) return 0;
    const oldest = this.#begun.at(-this.#perMinute) ?? Number.NEGATIVE_INFINITY;
    return Math.max(0, oldest + MINUTE_MS - now, this.#refusedAt + MINUTE_MS - now);
  }

  begin(now: number): void {
    this.#begun = [...this.#begun, now].slice(-Math.max(1, this.#perMinute));
  }

  refused(now: number): void {
    this.#refusedAt = now;
  }
}
