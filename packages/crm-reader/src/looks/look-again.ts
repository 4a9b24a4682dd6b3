import { realTime, type Time } from '@lockstep/telemetry';

import type { PendingHint } from './hint-queue.ts';

/** When a look that brought nothing new is repeated. After that the catch-up will see it. */
const AFTER_MS = [2_000, 10_000];
/** Records that may wait for another look; beyond, the catch-up is the better way. */
const MAX_WAITING = 5_000;

export type LookAgainDeps = {
  readonly look: (pending: PendingHint) => void;
  readonly signal: AbortSignal;
  readonly afterMs?: readonly number[];
  readonly time?: Time;
};

const AGAIN = ', again';

/**
 * Looks that are to be repeated. Their hints are answered already: after a crash it is the catch-up that sees what they would
 * have seen.
 */
export class LookAgain {
  readonly #deps: LookAgainDeps;
  readonly #tries = new Map<string, number>();
  /** By record: takes its next look back. */
  readonly #pending = new Map<string, () => void>();

  constructor(deps: LookAgainDeps) {
    this.#deps = deps;
    deps.signal.addEventListener('abort', () => {
      for (const takeBack of this.#pending.values()) takeBack();
    });
  }

  /** @returns false when the record has had all its looks, or too many wait. */
  later({ hint, name }: PendingHint): boolean {
    const { id } = hint;
    const { look, signal, afterMs = AFTER_MS, time = realTime } = this.#deps;
    if (this.#pending.has(id)) return true;
    const tries = this.#tries.get(id) ?? 0;
    const waitMs = afterMs[tries];
    if (waitMs === undefined || signal.aborted || this.#pending.size >= MAX_WAITING) {
      this.forget(id);
      return false;
    }
    this.#tries.set(id, tries + 1);
    const takeBack = time.after(waitMs, () => {
      this.#pending.delete(id);
      look({ hint, name: name.endsWith(AGAIN) ? name : `${name}${AGAIN}`, answered: () => undefined });
    });
    this.#pending.set(id, takeBack);
    return true;
  }

  /** Something new was seen: the count begins again. */
  forget(id: string): void {
    this.#pending.get(id)?.();
    this.#pending.delete(id);
    this.#tries.delete(id);
  }
}
