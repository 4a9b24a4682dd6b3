import { loop, type Logger } from '@lockstep/telemetry';

import type { CallPurpose } from './credits.ts';
import type { CallReport } from './transport.ts';

/** Credits spent within one hour, by purpose. */
export type CreditsSpent = {
  /** The hour's beginning. */
  readonly hour: Date;
  readonly credits: Readonly<Record<CallPurpose, number>>;
  /** What the CRM said last is left of the organisation's day; null while it does not say (more than half is). */
  readonly remaining: number | null;
};

const HOUR_MS = 3_600_000;
const WRITE_EVERY_MS = 5_000;
const none: CreditsSpent['credits'] = { look: 0, 'catch-up': 0, 'bulk-read': 0, other: 0 };

/** Counts what this process spends, until somebody writes it down. What is not written when the process is killed is lost: a few seconds. */
export class CreditMeter {
  readonly #now: () => number;
  #hours = new Map<number, Record<CallPurpose, number>>();
  #remaining: number | null = null;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  note({ credits, purpose, creditsRemaining }: Pick<CallReport, 'credits' | 'purpose' | 'creditsRemaining'>): void {
    const hour = Math.floor(this.#now() / HOUR_MS) * HOUR_MS;
    const spent = this.#hours.get(hour) ?? { ...none };
    spent[purpose] += credits;
    this.#hours.set(hour, spent);
    if (creditsRemaining !== undefined) this.#remaining = creditsRemaining;
  }

  /** Hands over what was spent since the last time; if that fails, it is handed over again the next time. */
  async flush(write: (spent: readonly CreditsSpent[]) => Promise<void>): Promise<void> {
    if (this.#hours.size === 0) return;
    const hours = this.#hours;
    this.#hours = new Map();
    try {
      await write([...hours].map(([hour, credits]) => ({ hour: new Date(hour), credits, remaining: this.#remaining })));
    } catch (error) {
      for (const [hour, credits] of hours) this.#putBack(hour, credits);
      throw error;
    }
  }

  /** Hands over every five seconds, and once more when the signal is aborted. */
  async keepWriting({ write, signal, log }: { write: (spent: readonly CreditsSpent[]) => Promise<void>; signal: AbortSignal; log: Logger }): Promise<void> {
    await loop({ name: 'credits', everyMs: WRITE_EVERY_MS, signal, log, body: () => this.flush(write) });
    await this.flush(write).catch((error: unknown) => log.warn({ err: error }, 'the last credits could not be written down'));
  }

  #putBack(hour: number, credits: Readonly<Record<CallPurpose, number>>): void {
    const since = this.#hours.get(hour) ?? none;
    this.#hours.set(hour, { look: since.look + credits.look, 'catch-up': since['catch-up'] + credits['catch-up'], 'bulk-read': since['bulk-read'] + credits['bulk-read'], other: since.other + credits.other });
  }
}
