import { CrmError, type CrmClient, type FoundRecord, type Observed } from '@lockstep/crm-client';
import type { Producer } from '@lockstep/kafka';
import { type ModuleDefinition, topicOf } from '@lockstep/modules';
import { canonicalJson, instantMs, observedAt } from '@lockstep/record-log';
import type { Logger } from '@lockstep/telemetry';

import type { DeadLetters } from '../dead-letters.ts';
import type { IngressMetrics } from '../metrics.ts';
import { seenMessages } from '../record-publisher.ts';
import { HintQueue, type PendingHint } from './hint-queue.ts';

export type LookerDeps = {
  readonly module: ModuleDefinition;
  readonly crm: Pick<CrmClient, 'lookAt' | 'rules'>;
  readonly producer: Pick<Producer, 'send'>;
  readonly deadLetters: DeadLetters;
  readonly metrics: IngressMetrics;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Shortest time between the starts of two looks that are not full. */
  readonly intervalMs: number;
};

const MAX_IN_FLIGHT = 2;
const MAX_PAUSE_MS = 30_000;

/**
 * Answers the hints of one module with looks. A hint that comes after a quiet time is looked at at once; under load a look
 * waits for a full query or for the interval, so that a busy minute costs fewer calls a record. Whatever fails is tried
 * again until it is answered: a hint is never dropped.
 */
export class Looker {
  readonly #deps: LookerDeps;
  readonly #queue = new HintQueue();
  readonly #toMessage: ReturnType<typeof seenMessages>;
  #inFlight = 0;
  #lastStart = Number.NEGATIVE_INFINITY;
  #failures = 0;
  /** After a failure nothing is looked at before this. */
  #pausedUntil = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(deps: LookerDeps) {
    this.#deps = deps;
    this.#toMessage = seenMessages(deps.module, 'look');
    deps.signal.addEventListener('abort', () => clearTimeout(this.#timer));
  }

  /** Records that wait for a look. */
  get waiting(): number {
    return this.#queue.size;
  }

  add(pending: PendingHint): void {
    this.#queue.add(pending);
    this.#schedule();
  }

  #schedule(): void {
    const { crm, intervalMs, signal } = this.#deps;
    if (signal.aborted || this.#queue.size === 0 || this.#inFlight >= MAX_IN_FLIGHT) return;
    const isFull = this.#queue.size >= crm.rules.idsPerLook;
    const waitMs = Math.max(this.#pausedUntil, isFull ? 0 : this.#lastStart + intervalMs) - performance.now();
    if (waitMs <= 0) {
      void this.#look(); // Never rejects: what fails is put back.
      return;
    }
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#schedule();
    }, waitMs);
  }

  async #look(): Promise<void> {
    const { crm, module, signal, metrics } = this.#deps;
    const taken = this.#queue.take(crm.rules.idsPerLook);
    this.#inFlight += 1;
    this.#lastStart = performance.now();
    try {
      const { records, observed } = await crm.lookAt({ module: module.apiName, fields: module.fields.map(({ field }) => field), ids: [...taken.keys()], signal });
      await this.#publish(records, observed);
      metrics.looks.inc({ module: module.apiName });
      metrics.looked.inc({ module: module.apiName, found: 'yes' }, records.length);
      metrics.looked.inc({ module: module.apiName, found: 'no' }, taken.size - records.length);
      for (const pending of taken.values()) for (const { answered } of pending) answered();
      this.#failures = 0;
    } catch (error) {
      this.#queue.putBack(taken);
      this.#pauseAfter(error);
    }
    this.#inFlight -= 1;
    this.#schedule();
  }

  async #publish(records: readonly FoundRecord[], observed: Observed): Promise<void> {
    const { producer, module, deadLetters } = this.#deps;
    const messages = [];
    const unreadable = [];
    for (const record of records) {
      const sighting = sightingOf(module, record, observed);
      if (sighting === null) unreadable.push({ source: 'look', key: record.id, position: { module: module.apiName, id: record.id }, code: 'MODIFIED_TIME_MALFORMED', cause: 'Modified_Time is no time with an offset' } as const);
      else messages.push(this.#toMessage(sighting));
    }
    if (messages.length > 0) await producer.send(topicOf(module), messages, { timeoutMs: 30_000 });
    await deadLetters.put(unreadable);
  }

  #pauseAfter(error: unknown): void {
    const { log, module, signal } = this.#deps;
    if (signal.aborted) return;
    this.#failures = Math.min(this.#failures + 1, 10);
    const pauseMs = Math.min(500 * 2 ** this.#failures, MAX_PAUSE_MS) * (0.5 + Math.random() / 2);
    this.#pausedUntil = performance.now() + pauseMs;
    const level = error instanceof CrmError && !error.retryable ? 'error' : 'warn';
    log[level]({ err: error, module: module.apiName, failures: this.#failures, pauseMs }, 'a look failed and will be tried again');
  }
}

function sightingOf(module: ModuleDefinition, { id, modifiedTime, values }: FoundRecord, observed: Observed) {
  try {
    const modifiedMs = instantMs(modifiedTime);
    return { id, modifiedMs, observedMs: observedAt(observed, modifiedMs), fields: module.fields.map(({ field, kind }) => canonicalJson(kind, values[field])) };
  } catch {
    return null;
  }
}
