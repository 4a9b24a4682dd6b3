import { CrmError, type CrmClient, type FoundRecord, type Observed } from '@lockstep/crm-client';
import type { Producer } from '@lockstep/kafka';
import { coverageOf, type ModuleDefinition, topicOf } from '@lockstep/modules';
import { isOwnHint } from '@lockstep/notifications';
import type { RegisterReader } from '@lockstep/postgres';
import { isRecordId } from '@lockstep/record-log';
import { crashPoint, type Logger, realTime, type Time } from '@lockstep/telemetry';

import type { DeadLetters } from '../dead-letters.ts';
import type { ReaderMetrics } from '../metrics.ts';
import { lookMessages } from '../record-publisher.ts';
import { sightingOf, unreadable } from '../sighting.ts';
import { believing, type WholeTextsSource } from '../whole-texts.ts';
import { HintQueue, type PendingHint } from './hint-queue.ts';
import { LookAgain } from './look-again.ts';

export type LookerDeps = {
  readonly module: ModuleDefinition;
  readonly crm: Pick<CrmClient, 'lookAt' | 'rules'>;
  readonly producer: Pick<Producer, 'send'>;
  readonly register: Pick<RegisterReader, 'known' | 'hidden'>;
  readonly deadLetters: DeadLetters;
  /** Reads again what a query may have cut; without it every text is believed. */
  readonly texts?: WholeTextsSource;
  readonly metrics: ReaderMetrics;
  readonly log: Logger;
  readonly signal: AbortSignal;
  readonly epsilonMs: number;
  /** Shortest time between the starts of two looks that are not full. */
  readonly intervalMs: number;
  readonly time?: Time;
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
  readonly #say: ReturnType<typeof lookMessages>;
  readonly #again: LookAgain;
  #inFlight = 0;
  #lastStart = Number.NEGATIVE_INFINITY;
  #failures = 0;
  /** After a failure nothing is looked at before this. */
  #pausedUntil = 0;
  readonly #time: Time;
  #isTimed = false;

  constructor(deps: LookerDeps) {
    this.#deps = deps;
    this.#time = deps.time ?? realTime;
    this.#say = lookMessages(deps.module, 'look', deps.epsilonMs);
    this.#again = new LookAgain({ look: (pending) => this.add(pending), signal: deps.signal, time: this.#time });
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
    const waitMs = Math.max(this.#pausedUntil, isFull ? 0 : this.#lastStart + intervalMs) - this.#time.elapsed();
    if (waitMs <= 0) {
      void this.#look(); // Never rejects: what fails is put back.
      return;
    }
    if (this.#isTimed) return;
    this.#isTimed = true;
    this.#time.after(waitMs, () => {
      this.#isTimed = false;
      this.#schedule();
    });
  }

  async #look(): Promise<void> {
    const { crm, module, signal, metrics } = this.#deps;
    const taken = this.#queue.take(crm.rules.idsPerLook);
    this.#inFlight += 1;
    this.#lastStart = this.#time.elapsed();
    try {
      const { records, observed } = await crm.lookAt({ module: module.apiName, fields: coverageOf(module).fields, ids: [...taken.keys()], signal });
      const news = await this.#publish(records, observed, taken);
      crashPoint('look-published');
      await this.#lookAgainAt(taken, new Set(records.map(({ id }) => id)), news);
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

  /** @returns the records of which something new was seen. */
  async #publish(records: readonly FoundRecord[], observed: Observed, taken: ReadonlyMap<string, readonly PendingHint[]>): Promise<Set<string>> {
    const { producer, module, deadLetters, register, texts = believing, signal } = this.#deps;
    const known = await register.known(module.apiName, records.map(({ id }) => id).filter(isRecordId));
    const news = new Set<string>();
    const messages = [];
    const bad = [];
    for (const record of await texts.complete(module, { records }, signal)) {
      const sighting = sightingOf(module, record, observed);
      if (sighting === null) {
        bad.push(unreadable('look', module, record));
        continue;
      }
      const { messages: events, isSeen } = this.#say(sighting, known.get(record.id), { lowerMs: observed.lowerMs, name: taken.get(record.id)?.[0]?.name ?? 'look' });
      messages.push(...events);
      if (isSeen) news.add(record.id);
    }
    if (messages.length > 0) await producer.send(topicOf(module), messages, { timeoutMs: 30_000 });
    await deadLetters.put(bad);
    return news;
  }

  /** A look may be too early: the CRM notifies of a change before every read shows it. What stays invisible is noted as hidden. */
  async #lookAgainAt(taken: ReadonlyMap<string, PendingHint[]>, found: ReadonlySet<string>, news: ReadonlySet<string>): Promise<void> {
    const { register, module } = this.#deps;
    const hidden: string[] = [];
    for (const [id, [pending]] of taken) {
      if (pending === undefined) continue;
      if (news.has(id)) this.#again.forget(id);
      else if (isOwnHint(pending.hint) || !this.#again.later(pending)) {
        if (!found.has(id)) hidden.push(id);
      }
    }
    await register.hidden(module.apiName, hidden);
  }

  #pauseAfter(error: unknown): void {
    const { log, module, signal } = this.#deps;
    if (signal.aborted) return;
    this.#failures = Math.min(this.#failures + 1, 10);
    const pauseMs = Math.min(500 * 2 ** this.#failures, MAX_PAUSE_MS) * (0.5 + this.#time.jitter() / 2);
    this.#pausedUntil = this.#time.elapsed() + pauseMs;
    const level = error instanceof CrmError && !error.retryable ? 'error' : 'warn';
    log[level]({ err: error, module: module.apiName, failures: this.#failures, pauseMs }, 'a look failed and will be tried again');
  }
}
