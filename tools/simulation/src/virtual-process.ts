import type { Random } from '@lockstep/crm-simulator';

/**
 * A process that can be killed between any two of its effects: everything outside it that it touches goes through {@link guard}.
 * Once dead, it waits for ever; what it had sent before stands.
 */
export class VirtualProcess {
  readonly #ended = new AbortController();
  readonly #random: Random;
  readonly #crashes: () => number;
  readonly #onEnd: () => void;

  /** @param crashes probability that it dies before, and again after, any single effect. */
  constructor({ random, crashes, onEnd }: { random: Random; crashes: () => number; onEnd: () => void }) {
    this.#random = random;
    this.#crashes = crashes;
    this.#onEnd = onEnd;
  }

  get signal(): AbortSignal {
    return this.#ended.signal;
  }

  get isDead(): boolean {
    return this.#ended.signal.aborted;
  }

  kill(): void {
    if (this.isDead) return;
    this.#ended.abort();
    this.#onEnd();
  }

  /**
   * The same thing, but each call of it may be the process's last.
   * @param own names of what the process asks itself.
   */
  guard<T extends object>(target: T, own: readonly string[] = []): T {
    return new Proxy(target, {
      get: (object, name, receiver) => {
        const member: unknown = Reflect.get(object, name, receiver);
        if (typeof member !== 'function' || own.includes(String(name))) return member;
        return async (...args: unknown[]): Promise<unknown> => {
          await this.#goOn();
          try {
            return await (member as (...given: unknown[]) => unknown).apply(object, args);
          } finally {
            await this.#goOn();
          }
        };
      },
    });
  }

  /** Calls again and again, as long as it lives; a failure is waited out. */
  async repeat(everyMs: () => number, sleep: (ms: number) => Promise<void>, body: () => Promise<unknown>): Promise<void> {
    while (!this.isDead) {
      try {
        await body();
      } catch {
        // As a loop of the apps does: what failed is tried again in the next round.
      }
      await sleep(everyMs());
    }
  }

  async #goOn(): Promise<void> {
    if (!this.isDead && this.#random.next() < this.#crashes()) this.kill();
    if (this.isDead) await new Promise<never>(() => undefined);
  }
}
