import type { PendingHint } from './hint-queue.ts';

/** When a look that brought nothing new is repeated. After that the catch-up will see it. */
const AFTER_MS = [2_000, 10_000];
/** Records that may wait for another look; beyond, the catch-up is the better way. */
const MAX_WAITING = 5_000;

export type LookAgainDeps = {
  readonly look: (pending: PendingHint) => void;
  readonly signal: AbortSignal;
  readonly afterMs?: readonly number[];
};

/**
 * Looks that are to be repeated. Their hints are answered already: after a crash it is the catch-up that sees what they would
 * have seen.
 */
export class LookAgain {
  readonly #deps: LookAgainDeps;
  readonly #tries = new Map<string, number>();
  readonly #timers = new Map<string, NodeJS.Timeout>();

  constructor(deps: LookAgainDeps) {
    this.#deps = deps;
    deps.signal.addEventListener('abort', () => {
      for (const timer of this.#timers.values()) clearTimeout(timer);
    });
  }

  /** @returns false when the record has had all its looks, or too many wait. */
  later({ hint }: PendingHint): boolean {
    const { id } = hint;
    const { look, signal, afterMs = AFTER_MS } = this.#deps;
    if (this.#timers.has(id)) return true;
    const tries = this.#tries.get(id) ?? 0;
    const waitMs = afterMs[tries];
    if (waitMs === undefined || signal.aborted || this.#timers.size >= MAX_WAITING) {
      this.forget(id);
      return false;
    }
    this.#tries.set(id, tries + 1);
    const timer = setTimeout(() => {
      this.#timers.delete(id);
      look({ hint, answered: () => undefined });
    }, waitMs);
    timer.unref();
    this.#timers.set(id, timer);
    return true;
  }

  /** Something new was seen: the count begins anew. */
  forget(id: string): void {
    clearTimeout(this.#timers.get(id));
    this.#timers.delete(id);
    this.#tries.delete(id);
  }
}
