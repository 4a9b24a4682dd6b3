const MINUTE_MS = 60_000;
const DAY_MINUTES = 1_440;

/** What the CRM has charged, minute by minute, so that every 24 hours can be looked at. */
export class CreditCount {
  readonly #minutes: number[] = [];
  readonly byKind = new Map<string, number>();

  add(atMs: number, kind: string, credits: number): void {
    const minute = Math.floor(atMs / MINUTE_MS);
    while (this.#minutes.length <= minute) this.#minutes.push(0);
    this.#minutes[minute] = (this.#minutes[minute] ?? 0) + credits;
    this.byKind.set(kind, (this.byKind.get(kind) ?? 0) + credits);
  }

  /** The most that was charged within any 24 hours; a minute more, so that none is missed. */
  mostOfADay(): number {
    let [sum, most] = [0, 0];
    for (const [minute, credits] of this.#minutes.entries()) {
      sum += credits - (this.#minutes[minute - DAY_MINUTES - 1] ?? 0);
      most = Math.max(most, sum);
    }
    return most;
  }

  /** What was charged in the last 24 hours until a moment. */
  ofDay(atMs: number): number {
    const end = Math.floor(atMs / MINUTE_MS);
    return this.#minutes.slice(Math.max(0, end - DAY_MINUTES), end + 1).reduce((sum, one) => sum + one, 0);
  }
}
