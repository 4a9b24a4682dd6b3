import { isCoarser, isFlood, type FilledBucket } from '@lockstep/completeness';
import type { Time } from '@lockstep/telemetry';

/** The budget as looks see it: what is in the bucket, null without a budget. */
export type LookBudget = { state(): FilledBucket | null };

export type FloodOptions = {
  readonly budget: LookBudget;
  readonly recordsPerLook: number;
  /** How many modules share the looks. */
  readonly modules: number;
  readonly time: Pick<Time, 'elapsed'>;
};

/** Over which records are counted. */
const WINDOW_MS = 5 * 60_000;
/** A flood is over once the module changes at this share of what began it. */
const OVER_AT = 0.5;

/**
 * Whether a module changes faster than the budget lets looks follow. While it does, a look costs more than its share of a window of changes: hints are dropped, looks
 * cost nothing, and catch-ups become as frequent as the credits allow.
 */
export class Flood {
  readonly #options: FloodOptions;
  #windowAt = Number.NEGATIVE_INFINITY;
  #count = 0;
  #countBefore = 0;
  #isOn = false;

  constructor(options: FloodOptions) {
    this.#options = options;
  }

  /** Counts a record that was hinted at. @returns whether it is one of a flood. */
  note(): boolean {
    this.#turn();
    this.#count += 1;
    const { budget, recordsPerLook, modules } = this.#options;
    const bucket = budget.state();
    const recordsPerMs = this.#recordsPerMs() / (this.#isOn ? OVER_AT : 1);
    this.#isOn = bucket !== null && isCoarser(bucket) && isFlood(bucket, { recordsPerMs, recordsPerLook, modules });
    return this.#isOn;
  }

  /** The records of this window, and of the one before as far as it reaches into the last five minutes. */
  #recordsPerMs(): number {
    const passed = (this.#options.time.elapsed() - this.#windowAt) / WINDOW_MS;
    return (this.#count + this.#countBefore * (1 - passed)) / WINDOW_MS;
  }

  #turn(): void {
    const now = this.#options.time.elapsed();
    const passed = now - this.#windowAt;
    if (passed < WINDOW_MS) return;
    this.#countBefore = passed < 2 * WINDOW_MS ? this.#count : 0;
    this.#count = 0;
    this.#windowAt = now;
  }
}
