import type { BulkPageRow } from '@lockstep/postgres';
import { realTime, type Time } from '@lockstep/telemetry';

type Page = Pick<BulkPageRow, 'id' | 'jobId'>;

const FIRST_MS = 1_000;
/** What a page waits for: parts of our own, a CRM that fails for a while, or one that refuses. A result is good for a day: about a hundred attempts. */
const MOST_MS = { parts: 30_000, passing: 120_000, lasting: 15 * 60_000 } as const;

/** Pages that could not be taken wait by themselves, longer after each failure. In memory: a restart tries all of them again. */
export class PageWaits {
  readonly #time: Pick<Time, 'elapsed' | 'jitter'>;
  readonly #waits = new Map<string, { readonly failures: number; readonly until: number }>();

  constructor(time: Pick<Time, 'elapsed' | 'jitter'> = realTime) {
    this.#time = time;
  }

  isDue(page: Page): boolean {
    return this.#time.elapsed() >= (this.#waits.get(nameOf(page))?.until ?? 0);
  }

  /** @returns how long it waits, milliseconds. */
  failed(page: Page, cause: keyof typeof MOST_MS): number {
    const failures = (this.#waits.get(nameOf(page))?.failures ?? 0) + 1;
    const pauseMs = Math.min(FIRST_MS * 2 ** Math.min(failures, 20), MOST_MS[cause]) * (0.5 + this.#time.jitter() / 2);
    this.#waits.set(nameOf(page), { failures, until: this.#time.elapsed() + pauseMs });
    return pauseMs;
  }

  /** How often in a row the page could not be taken. */
  failuresOf(page: Page): number {
    return this.#waits.get(nameOf(page))?.failures ?? 0;
  }

  done(page: Page): void {
    this.#waits.delete(nameOf(page));
  }

  /** Forgets all others. */
  keepOnly(pages: readonly Page[]): void {
    const names = new Set(pages.map(nameOf));
    for (const name of this.#waits.keys()) if (!names.has(name)) this.#waits.delete(name);
  }
}

/** A page that is requested again has another job. */
const nameOf = ({ id, jobId }: Page): string => `${id}/${jobId ?? ''}`;
