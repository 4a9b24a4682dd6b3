import { lookEveryMs } from '@lockstep/completeness';
import type { ModuleDefinition } from '@lockstep/modules';
import { loop, realTime, type Time } from '@lockstep/telemetry';

import { type DeletedListDeps, readDeletedList } from '../deleted-list.ts';
import type { LookBudget } from './flood.ts';
import type { PendingHint } from './hint-queue.ts';

export type DeletionsDeps = DeletedListDeps & {
  readonly module: ModuleDefinition;
  readonly signal: AbortSignal;
  /** Shortest time between two readings of the list; each costs two credits. */
  readonly intervalMs?: number;
  /** What a reading may cost; without it, anything. */
  readonly budget?: LookBudget;
  readonly time?: Time;
};

/** How far before its hint a deletion may have happened: late notifications, and clocks that differ. */
const LOOK_BACK_MS = 10 * 60_000;
/** Where credits are scarce, a reading waits as long as the two looks that it costs, but no longer than this. */
const MAX_INTERVAL_MS = 10 * 60_000;
/** The list may lag behind the hint. After so many readings the catch-up will find it. */
const MAX_READINGS = 8;

const CREDITS_OF_A_READING = 2;

type Wanted = { readonly pending: PendingHint[]; readings: number };

/**
 * Delete hints start the reading of the module's deleted list; only what the list says becomes a `RecordDeleted`. A hint is
 * answered once its record was listed.
 */
export class Deletions {
  readonly #deps: DeletionsDeps;
  readonly #wanted = new Map<string, Wanted>();
  #added = Promise.withResolvers<void>();
  readonly running: Promise<void>;

  constructor(deps: DeletionsDeps) {
    this.#deps = deps;
    const { module, signal, log, intervalMs = 1_000, budget, time = realTime } = deps;
    const everyMs = (): number => {
      const bucket = budget?.state() ?? null;
      return bucket === null ? intervalMs : Math.max(intervalMs, Math.min(CREDITS_OF_A_READING * lookEveryMs(bucket), MAX_INTERVAL_MS));
    };
    signal.addEventListener('abort', () => this.#added.resolve());
    this.running = loop({ name: `deleted list of ${module.apiName}`, everyMs, signal, log, time, body: () => this.#round() });
  }

  get waiting(): number {
    return this.#wanted.size;
  }

  add(pending: PendingHint): void {
    const known = this.#wanted.get(pending.hint.id);
    if (known === undefined) this.#wanted.set(pending.hint.id, { pending: [pending], readings: 0 });
    else known.pending.push(pending);
    this.#added.resolve();
  }

  async #round(): Promise<void> {
    const { signal } = this.#deps;
    if (this.#wanted.size === 0) {
      this.#added = Promise.withResolvers<void>();
      if (!signal.aborted) await this.#added.promise;
      if (signal.aborted) return;
    }
    await this.#read();
  }

  async #read(): Promise<void> {
    const { module, crm } = this.#deps;
    const wantedNow = [...this.#wanted.keys()];
    const { listed, isHeld } = await readDeletedList(this.#deps, module, this.#since(crm.time().earliestMs), { name: this.#name(), purpose: 'look' });
    // What is held is the catch-up's from now on: it comes again until a person has said go.
    for (const id of wantedNow) this.#settle(id, isHeld || listed.has(id));
  }

  #name(): string {
    const [first] = this.#wanted.values();
    return first?.pending[0]?.name ?? 'hint';
  }

  /** @param nowMs CRM time, not later than it is: hosts that took the hints in may have had wrong clocks. */
  #since(nowMs: number): Date {
    const received = [...this.#wanted.values()].flatMap(({ pending }) => pending.map(({ hint }) => hint.receivedMs));
    return new Date(Math.min(nowMs, ...received) - LOOK_BACK_MS);
  }

  #settle(id: string, isListed: boolean): void {
    const wanted = this.#wanted.get(id);
    if (wanted === undefined) return;
    wanted.readings += 1;
    if (!isListed && wanted.readings < MAX_READINGS) return;
    if (!isListed) this.#deps.log.warn({ module: this.#deps.module.apiName, id }, 'a record was said to be deleted and is not listed; it is kept unchanged');
    this.#wanted.delete(id);
    for (const { answered } of wanted.pending) answered();
  }
}
