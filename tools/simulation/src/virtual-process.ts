import type { Random } from '@lockstep/crm-simulator';

/** What a process calls: the CRM fails by itself, stores and log by what the world says. */
export type Part = 'crm' | 'store' | 'log';

/** A call of a store or of the log that failed although the process lives on. Whether it had its effect, the caller cannot know. */
export class Unavailable extends Error {
  /** Postgres' code of a connection that failed. */
  readonly code = '08006';

  constructor(part: Part) {
    super(`the ${part} did not answer`);
    this.name = 'Unavailable';
  }
}

/** How the next call of a part fails, if it does: before it had its effect, or its answer is lost. */
export type Trouble = 'none' | 'before' | 'after';

type VirtualProcessOptions = {
  readonly random: Random;
  /** Probability that it dies before, and again after, any single effect. */
  readonly crashes: () => number;
  readonly trouble: (part: Part) => Trouble;
  readonly onEnd: () => void;
};

/** A promise of its own each time: one for all would keep every world that waits for it in memory. */
const never = (): Promise<never> => new Promise(() => undefined);

/**
 * A process that can be killed between any two of its effects, and whose calls may fail: everything outside it that it touches
 * goes through {@link guard}. Once dead, it waits forever; what it had sent before stands.
 */
export class VirtualProcess {
  readonly #ended = new AbortController();
  readonly #options: VirtualProcessOptions;

  constructor(options: VirtualProcessOptions) {
    this.#options = options;
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
    this.#options.onEnd();
  }

  /**
   * The same thing, but each call of it may be the process's last, or fail.
   * @param own names of what the process asks itself.
   */
  guard<T extends object>(target: T, part: Part = 'crm', own: readonly string[] = []): T {
    const guarded = new Map<PropertyKey, unknown>();
    return new Proxy(target, {
      get: (object, name, receiver) => {
        const member: unknown = Reflect.get(object, name, receiver);
        if (typeof member !== 'function' || own.includes(String(name))) return member;
        const known = guarded.get(name) ?? ((...args: unknown[]) => this.#call(part, () => (member as (...given: unknown[]) => unknown).apply(object, args)));
        guarded.set(name, known);
        return known;
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

  async #call(part: Part, effect: () => unknown): Promise<unknown> {
    if (this.#dies()) return await never();
    const trouble = this.#options.trouble(part);
    if (trouble === 'before') throw new Unavailable(part);
    try {
      const result = await effect();
      if (trouble === 'after') throw new Unavailable(part);
      return result;
    } finally {
      if (this.#dies()) await never();
    }
  }

  #dies(): boolean {
    if (!this.isDead && this.#options.random.next() < this.#options.crashes()) this.kill();
    return this.isDead;
  }
}
