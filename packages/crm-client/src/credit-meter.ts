import { loop, type Logger } from '@lockstep/telemetry';

import type { CountedAs } from './credits.ts';
import type { CallReport } from './transport.ts';

/** Credits that were spent since the last time, by purpose. The hour they count in is the store's: every process has another clock. */
export type CreditsSpent = {
  readonly credits: Readonly<Record<CountedAs, number>>;
  /** What the CRM said last is left of the organisation's day; null while it does not say (more than half is). */
  readonly remaining: number | null;
};

const WRITE_EVERY_MS = 5_000;
const none: CreditsSpent['credits'] = { look: 0, 'catch-up': 0, 'bulk-read': 0, retry: 0, other: 0 };

/** Counts what this process spends, until it is written down. What is not written when the process is killed is lost: a few seconds. */
export class CreditMeter {
  #spent: Record<CountedAs, number> | undefined;
  #remaining: number | null = null;

  note({ credits, purpose, countedAs, creditsRemaining }: Pick<CallReport, 'credits' | 'purpose' | 'countedAs' | 'creditsRemaining'>): void {
    this.#spent ??= { ...none };
    this.#spent[countedAs ?? purpose] += credits;
    if (creditsRemaining !== undefined) this.#remaining = creditsRemaining;
  }

  /** Hands over what was spent since the last time; if that fails, it is handed over again the next time. */
  async flush(write: (spent: CreditsSpent) => Promise<void>): Promise<void> {
    const spent = this.#spent;
    if (spent === undefined) return;
    this.#spent = undefined;
    try {
      await write({ credits: spent, remaining: this.#remaining });
    } catch (error) {
      this.#putBack(spent);
      throw error;
    }
  }

  /** Hands over every five seconds, and again when the signal is aborted. */
  async keepWriting({ write, signal, log }: { write: (spent: CreditsSpent) => Promise<void>; signal: AbortSignal; log: Logger }): Promise<void> {
    await loop({ name: 'credits', everyMs: WRITE_EVERY_MS, signal, log, body: () => this.flush(write) });
    await this.flush(write).catch((error: unknown) => log.warn({ err: error }, 'the last credits could not be written down'));
  }

  #putBack(credits: Readonly<Record<CountedAs, number>>): void {
    const since = this.#spent ?? none;
    this.#spent = { look: since.look + credits.look, 'catch-up': since['catch-up'] + credits['catch-up'], 'bulk-read': since['bulk-read'] + credits['bulk-read'], retry: since.retry + credits.retry, other: since.other + credits.other };
  }
}
