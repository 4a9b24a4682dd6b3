import type { Clock } from './clock.ts';

const HOUR_MS = 3_600_000;

/** What was called and what it cost: calls and credits by kind, and the credits of the rolling day. */
export class Counters {
  readonly #clock: Clock;
  readonly #limit: number;
  readonly #calls = new Map<string, { calls: number; credits: number }>();
  readonly #hours = new Map<number, number>();
  readonly #statuses = new Map<number, number>();

  constructor(clock: Clock, limit: number) {
    this.#clock = clock;
    this.#limit = limit;
  }

  add(kind: string, credits: number): void {
    const entry = this.#calls.get(kind) ?? { calls: 0, credits: 0 };
    this.#calls.set(kind, { calls: entry.calls + 1, credits: entry.credits + credits });
    const hour = Math.floor(this.#clock.nowMs() / HOUR_MS);
    this.#hours.set(hour, (this.#hours.get(hour) ?? 0) + credits);
    for (const old of this.#hours.keys()) if (old <= hour - 24) this.#hours.delete(old);
  }

  /** Calls that have come and are not answered yet: all of them, and the queries among them. */
  readonly inFlight = { calls: 0, queries: 0 };
  /** The most there were of each at a time. */
  readonly peak = { calls: 0, queries: 0 };
  /** Calls answered with 429 because of a limit, by the limit. */
  readonly refused = { credits: 0, calls: 0, queries: 0, downloads: 0 };

  /** A call has come. @returns notes that it has ended, however it did. */
  started(isQuery: boolean): () => void {
    this.#move(isQuery, 1);
    return () => this.#move(isQuery, -1);
  }

  /** Which limit the calls in flight pass now; a limit of 0 is none. */
  passed({ callsInFlight, queriesInFlight }: { readonly callsInFlight: number; readonly queriesInFlight: number }): 'calls' | 'queries' | null {
    if (callsInFlight > 0 && this.inFlight.calls > callsInFlight) return 'calls';
    return queriesInFlight > 0 && this.inFlight.queries > queriesInFlight ? 'queries' : null;
  }

  answered(status: number): void {
    this.#statuses.set(status, (this.#statuses.get(status) ?? 0) + 1);
  }

  #move(isQuery: boolean, by: 1 | -1): void {
    for (const kind of isQuery ? (['calls', 'queries'] as const) : (['calls'] as const)) {
      this.inFlight[kind] += by;
      this.peak[kind] = Math.max(this.peak[kind], this.inFlight[kind]);
    }
  }

  /** Credits left of the last 24 hours. */
  get remaining(): number {
    return this.#limit - [...this.#hours.values()].reduce((sum, credits) => sum + credits, 0);
  }

  /** The CRM reports what is left once half of it is used. */
  get isHalfUsed(): boolean {
    return this.remaining * 2 <= this.#limit;
  }

  report() {
    const totals = [...this.#calls.values()].reduce((sum, e) => ({ calls: sum.calls + e.calls, credits: sum.credits + e.credits }), { calls: 0, credits: 0 });
    return { ...totals, creditsRemaining: this.remaining, inFlight: { ...this.inFlight }, peak: { ...this.peak }, refused: { ...this.refused }, byKind: Object.fromEntries(this.#calls), byStatus: Object.fromEntries(this.#statuses) };
  }
}
