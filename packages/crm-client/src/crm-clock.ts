/** Between which CRM times something happened, epoch milliseconds. */
export type Observed = { readonly lowerMs: number; readonly upperMs: number };

// Replies older than this no longer bound the offset: two clocks drift apart by about 1 ms a minute at most.
const WINDOW = 64;

/**
 * Tells CRM time from our own. Every reply carries the CRM's `Date`, in whole seconds: so the offset between the clocks lies
 * in `(Date - received, Date + 1 s - sent)`. The intersection of the latest replies is narrow (a few milliseconds after some
 * dozens), which is what orders two looks within one second. Where replies contradict each other (a clock was set, hosts
 * differ), the latest one alone counts.
 */
export class CrmClock {
  readonly #bounds: { low: number; high: number }[] = [];
  #low = Number.NEGATIVE_INFINITY;
  #high = Number.POSITIVE_INFINITY;

  /** Learns from a reply: our times around it, and its `Date` header (null where there is none). */
  learn(sentMs: number, receivedMs: number, date: string | null): void {
    const crmMs = date === null ? Number.NaN : Date.parse(date);
    if (Number.isNaN(crmMs)) return;
    this.#bounds.push({ low: crmMs - receivedMs, high: crmMs + 1000 - sentMs });
    if (this.#bounds.length > WINDOW) this.#bounds.shift();
    this.#low = Math.max(...this.#bounds.map(({ low }) => low));
    this.#high = Math.min(...this.#bounds.map(({ high }) => high));
    if (this.#low > this.#high) this.#restart();
  }

  /** The CRM times between which an attempt began and its answer had come. Without any `Date` yet: our clock, a minute early. */
  between(sentMs: number, receivedMs: number): Observed {
    if (!Number.isFinite(this.#low)) return { lowerMs: sentMs - 60_000, upperMs: receivedMs };
    return { lowerMs: Math.floor(sentMs + this.#low), upperMs: Math.ceil(receivedMs + this.#high) };
  }

  #restart(): void {
    const last = this.#bounds.at(-1) as { low: number; high: number };
    this.#bounds.splice(0, this.#bounds.length, last);
    this.#low = last.low;
    this.#high = last.high;
  }
}
