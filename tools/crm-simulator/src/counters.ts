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

  /** Calls that have come and are not answered yet. */
  inFlight = 0;

  started(): void {
    this.inFlight++;
  }

  answered(status: number): void {
    this.inFlight--;
    this.#statuses.set(status, (this.#statuses.get(status) ?? 0) + 1);
  }

  /** Credits left of the last 24 hours. */
  get remaining(): number {
    return this.#limit - [...this.#hours.values()].reduce((sum, credits) => sum + credits, 0);
  }

  /** The CRM tells what is left once half of it is used. */
  get isHalfUsed(): boolean {
    return this.remaining * 2 <= this.#limit;
  }

  report() {
    const totals = [...this.#calls.values()].reduce((sum, e) => ({ calls: sum.calls + e.calls, credits: sum.credits + e.credits }), { calls: 0, credits: 0 });
    return { ...totals, creditsRemaining: this.remaining, byKind: Object.fromEntries(this.#calls), byStatus: Object.fromEntries(this.#statuses) };
  }
}
