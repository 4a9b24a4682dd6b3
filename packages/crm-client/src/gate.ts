import { CrmError } from './errors.ts';

/** Lets so many in at a time; the others wait, and are let in in the order of their coming. */
export class Gate {
  readonly #limit: number;
  readonly #waiting = new Set<() => void>();
  #inside = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /**
   * Resolves once there is room.
   * @returns leaves again; to be called once.
   * @throws {CrmError} when a signal is aborted.
   */
  async enter(signals: readonly AbortSignal[]): Promise<() => void> {
    if (this.#inside < this.#limit && !signals.some(({ aborted }) => aborted)) this.#inside += 1;
    else await this.#turn(signals);
    return () => this.#leave();
  }

  /** The place of a call that leaves is handed on, so that no other that comes in between takes it. */
  #leave(): void {
    const [next] = this.#waiting;
    if (next === undefined) this.#inside -= 1;
    else next();
  }

  #turn(signals: readonly AbortSignal[]): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (settle: () => void) => (): void => {
        this.#waiting.delete(enter);
        for (const signal of signals) signal.removeEventListener('abort', giveUp);
        settle();
      };
      const enter = end(resolve);
      const giveUp = end(() => reject(notSent('it was given up while it waited')));
      this.#waiting.add(enter);
      for (const signal of signals) signal.addEventListener('abort', giveUp);
      if (signals.some(({ aborted }) => aborted)) giveUp();
    });
  }
}

/** A call that was given up before it was sent. */
export const notSent = (reason: string, options?: ErrorOptions): CrmError => new CrmError(`the call was not sent: ${reason}`, 'CRM_UNREACHABLE', options);
