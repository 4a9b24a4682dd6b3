import { lookEveryMs } from '@lockstep/completeness';
import { CrmError, type CrmClient, type Look } from '@lockstep/crm-client';
import { type Producer, sendBounded } from '@lockstep/kafka';
import { coverageOf, type ModuleDefinition, topicOf } from '@lockstep/modules';
import { isOwnHint } from '@lockstep/notifications';
import type { LookAside, LooksAside, RegisterReader } from '@lockstep/postgres';
import { isRecordId } from '@lockstep/record-log';
import { crashPoint, type Logger, realTime, type Time } from '@lockstep/telemetry';

import type { DeadLetter, DeadLetters } from '../dead-letters.ts';
import type { ReaderMetrics } from '../metrics.ts';
import { lookMessages } from '../record-publisher.ts';
import { refusedRow, sightingOf, tooLarge, unreadable } from '../sighting.ts';
import { believing, type WholeTextsSource } from '../whole-texts.ts';
import { Flood, type LookBudget } from './flood.ts';
import { asideOf, divide, mayBeOfARecord, mayPass } from './guilty.ts';
import { HintQueue, type PendingHint } from './hint-queue.ts';
import { LookAgain } from './look-again.ts';
import { LookPace } from './look-pace.ts';

export type LookerDeps = {
  readonly module: ModuleDefinition;
  readonly crm: Pick<CrmClient, 'lookAt' | 'rules'>;
  readonly producer: Pick<Producer, 'send'>;
  readonly register: Pick<RegisterReader, 'known' | 'hidden'>;
  readonly deadLetters: DeadLetters;
  /** Where records are kept whose looks fail. */
  readonly aside: LooksAside;
  /** Reads again what a query may have cut; without it every text is believed. */
  readonly texts?: WholeTextsSource;
  readonly metrics: ReaderMetrics;
  readonly log: Logger;
  readonly signal: AbortSignal;
  readonly epsilonMs: number;
  /** Shortest time between the starts of two looks that are not full. */
  readonly intervalMs: number;
  /** What looks may cost; without it, anything. */
  readonly budget?: LookBudget;
  /** How many modules share it. */
  readonly moduleCount?: number;
  readonly time?: Time;
};

const unlimited: LookBudget = { state: () => null };

type Taken = ReadonlyMap<string, readonly PendingHint[]>;

/** A look that waited for longer has not come too early. */
const LATE_LOOK_MS = 10_000;
/** An id that no record has: a look at it says whether looks at the module succeed at all. */
const NO_RECORD = '1';

/**
 * Answers the hints of one module with looks. A hint that comes after a quiet time is looked at at once; under load a look
 * waits for a full query or for the interval, so that a busy minute costs fewer calls a record.
 *
 * Where credits are scarce, looks wait longer for each other; where a module changes faster than they can follow, its hints are dropped and its catch-ups read the changes.
 *
 * A look that fails is tried again until it is answered: a hint is not dropped for it. Where looks at the module succeed and this one does not, it is
 * divided until the records that make it fail are alone. They are kept aside with their cause, and looked at by themselves, less and less often.
 */
export class Looker {
  readonly #deps: LookerDeps;
  readonly #queue = new HintQueue();
  /** Records whose looks have failed and are due: each is looked at alone, so that it makes no other wait. */
  readonly #suspects = new HintQueue();
  readonly #aside = new Set<string>();
  /** Records that wait in the database as well; noted as answered with the others. */
  readonly #noted = new Set<string>();
  /** Records of which a hint was put off since their look began. */
  readonly #putOff = new Set<string>();
  readonly #say: ReturnType<typeof lookMessages>;
  readonly #again: LookAgain;
  readonly #pace: LookPace;
  readonly #flood: Flood;
  /** A record that was read not long ago. */
  #witness: string | null = null;
  readonly #time: Time;
  #isTimed = false;

  constructor(deps: LookerDeps) {
    this.#deps = deps;
    this.#time = deps.time ?? realTime;
    const { budget = unlimited, intervalMs, moduleCount = 1, crm: { rules: { idsPerLook } } } = deps;
    const lingerMs = (): number => {
      const bucket = budget.state();
      return bucket === null ? 0 : lookEveryMs(bucket);
    };
    this.#pace = new LookPace({ intervalMs, idsPerLook, lingerMs, time: this.#time });
    this.#flood = new Flood({ budget, recordsPerLook: idsPerLook, modules: moduleCount, time: this.#time });
    this.#say = lookMessages(deps.module, 'look', deps.epsilonMs);
    this.#again = new LookAgain({ look: (pending) => this.add(pending), signal: deps.signal, time: this.#time });
  }

  /** Records that wait for a look. */
  get waiting(): number {
    return this.#queue.size + this.#suspects.size;
  }

  /** Whether looks at the module fail at present. */
  get isFailing(): boolean {
    return this.#pace.isFailing;
  }

  /** Whether a record is kept aside, as far as this process knows: a restart forgets it until the record is due. */
  isAside(id: string): boolean {
    return this.#aside.has(id);
  }

  add(pending: PendingHint): void {
    const { hint } = pending;
    if (!isOwnHint(hint) && !this.#queue.has(hint.id) && this.#flood.note()) return this.#drop(pending);
    this.#queue.add(pending);
    this.#schedule();
  }

  /** The next catch-up reads what these hints announce. */
  #drop(pending: PendingHint): void {
    const dropped = [pending, ...this.#queue.takeWhole((one) => !isOwnHint(one.hint) && !this.#noted.has(one.hint.id))];
    for (const { answered } of dropped) answered();
    this.#deps.metrics.hintsDropped.inc({ module: this.#deps.module.apiName }, dropped.length);
  }

  /** Looks at a record that waited in the database for room. */
  addNoted(pending: PendingHint): void {
    this.#noted.add(pending.hint.id);
    this.#queue.add(pending);
    this.#schedule();
  }

  /** A hint of these records is about to be noted in the database: a look that has begun does not answer it. */
  putOff(ids: Iterable<string>): void {
    for (const id of ids) this.#putOff.add(id);
  }

  /** Looks at a record that was kept aside again. */
  addSuspect(pending: PendingHint): void {
    const { id } = pending.hint;
    if (!this.#suspects.has(id)) this.#suspect(id, [pending]);
    this.#schedule();
  }

  #suspect(id: string, pending: readonly PendingHint[]): void {
    this.#aside.add(id);
    for (const one of pending) this.#suspects.add(one);
  }

  #schedule(): void {
    if (this.#deps.signal.aborted) return;
    const waitMs = this.#pace.waitMs({ waiting: this.#queue.size, suspects: this.#suspects.size });
    if (waitMs === null) return;
    if (waitMs <= 0) {
      void this.#next(); // Never rejects: what fails is put back.
      return;
    }
    if (this.#isTimed) return;
    this.#isTimed = true;
    this.#time.after(waitMs, () => {
      this.#isTimed = false;
      this.#schedule();
    });
  }

  async #next(): Promise<void> {
    const isSuspect = this.#pace.isSuspectsTurn({ waiting: this.#queue.size, suspects: this.#suspects.size });
    const queue = isSuspect ? this.#suspects : this.#queue;
    const open = new Map<string, readonly PendingHint[]>(queue.take(isSuspect ? 1 : this.#deps.crm.rules.idsPerLook));
    this.#pace.begin();
    try {
      const aside = await this.#answer(open, isSuspect);
      this.#pace.succeeded();
      if (isSuspect) this.#pace.lookedAtSuspect(aside === 0);
    } catch (error) {
      queue.putBack(open);
      this.#noteFailure(error);
    }
    this.#pace.end();
    this.#schedule();
  }

  /**
   * Answers all of them, and takes each that is answered, or is to be looked at alone, out of `open`.
   * @param isSuspect whether it is such a look.
   * @returns how many were kept aside.
   */
  async #answer(open: Map<string, readonly PendingHint[]>, isSuspect: boolean): Promise<number> {
    const look = async (some: Taken): Promise<void> => {
      bad += await this.#lookAt(some);
      for (const id of some.keys()) open.delete(id);
    };
    let bad = 0;
    try {
      await look(new Map(open));
      return bad;
    } catch (error) {
      if (!mayBeOfARecord(error) || !(await this.#isOnlyThisLook(error))) throw error;
      const { guilty, isAnyAnswered } = await divide({ items: new Map(open), error, look });
      // Replies that cannot be read may have another form by now: an empty one would not show that.
      if (error.code === 'CRM_REPLY_UNEXPECTED' && this.#witness === null && !isAnyAnswered) throw error;
      const [chance = [], certain = []] = [true, false].map((isChance) => guilty.filter((one) => (!isSuspect && mayPass(one.error)) === isChance));
      for (const { id, item } of chance) {
        open.delete(id);
        this.#suspect(id, item);
        this.#pace.suspected();
      }
      await this.#keepAside(certain.map(asideOf));
      for (const { id, item } of certain) {
        open.delete(id);
        for (const { answered } of item) answered();
      }
      return bad + certain.length;
    }
  }

  /** Whether looks at other records of the module succeed, so that the fault is in what this one looks at. */
  async #isOnlyThisLook(error: CrmError): Promise<boolean> {
    const { crm, module, signal } = this.#deps;
    const tryAt = async (id: string): Promise<boolean> => {
      try {
        await crm.lookAt({ module: module.apiName, fields: coverageOf(module).fields, ids: [id], signal });
        return true;
      } catch (other) {
        if (!(other instanceof CrmError)) throw other;
        return false;
      }
    };
    if (error.code === 'CRM_REPLY_UNEXPECTED' && this.#witness !== null && (await tryAt(this.#witness))) return true;
    this.#witness = null;
    return await tryAt(NO_RECORD);
  }

  /** @returns how many of the records cannot be read, and are kept aside. */
  async #lookAt(some: Taken): Promise<number> {
    const { crm, module, signal, metrics } = this.#deps;
    for (const id of some.keys()) this.#putOff.delete(id);
    const look = await crm.lookAt({ module: module.apiName, fields: coverageOf(module).fields, ids: [...some.keys()], signal });
    // It may be any of them: alone, each can be named.
    const { refused = [], records } = look;
    if (refused.some(({ id }) => id === null)) throw new CrmError(`a look at ${module.apiName}: a row has no id`, 'CRM_REPLY_UNEXPECTED');
    const { news, bad } = await this.#publish(look, some);
    crashPoint('look-published');
    const found = new Set([...records, ...refused].map(({ id }) => id));
    const badIds = new Set(bad.map(({ key }) => key));
    const read = new Map([...some].filter(([id]) => !badIds.has(id)));
    await this.#lookAgainAt(read, found, news);
    await this.#keepAside(bad.map(({ key: id, code, cause }) => ({ id, code, cause })), bad);
    await this.#noteAnswered([...read.keys()]);
    this.#witness = records.find(({ id }) => read.has(id))?.id ?? this.#witness;
    metrics.looks.inc({ module: module.apiName });
    metrics.looked.inc({ module: module.apiName, found: 'yes' }, found.size);
    metrics.looked.inc({ module: module.apiName, found: 'no' }, some.size - found.size);
    for (const pending of some.values()) for (const { answered } of pending) answered();
    return bad.length;
  }

  /** @returns the records of which something new was seen, and those that cannot be written down. */
  async #publish({ records, refused = [], observed }: Look, taken: Taken): Promise<{ news: Set<string>; bad: readonly DeadLetter[] }> {
    const { producer, module, register, texts = believing, signal } = this.#deps;
    // What was not asked for is no answer; an id that is none could not be kept aside.
    const asked = records.filter(({ id }) => taken.has(id));
    const known = await register.known(module.apiName, asked.map(({ id }) => id).filter(isRecordId));
    const news = new Set<string>();
    const messages = [];
    const bad = refused.filter(({ id }) => taken.has(id ?? '')).map((row) => refusedRow('look', module, row));
    for (const record of await texts.complete(module, { records: asked }, signal)) {
      const sighting = sightingOf(module, record, observed);
      if (sighting === null) {
        bad.push(unreadable('look', module, record));
        continue;
      }
      const { messages: events, isSeen } = this.#say(sighting, known.get(record.id), { lowerMs: observed.lowerMs, name: taken.get(record.id)?.[0]?.name ?? 'look' });
      messages.push(...events);
      if (isSeen) news.add(record.id);
    }
    bad.push(...(await sendBounded(producer, topicOf(module), messages, { timeoutMs: 30_000 })).map((one) => tooLarge('look', module, one)));
    return { news, bad };
  }

  /** A dead letter is written for what is new: the table knows the others. */
  async #keepAside(looks: readonly LookAside[], letters: readonly DeadLetter[] = looks.map((look) => this.#letterOf(look))): Promise<void> {
    if (looks.length === 0) return;
    const { aside, deadLetters, module, log, metrics } = this.#deps;
    const fresh = new Set(await aside.keep(module.apiName, looks));
    for (const { id } of looks) this.#aside.add(id);
    metrics.looksAside.inc({ module: module.apiName }, looks.length);
    if (fresh.size === 0) return;
    await deadLetters.put(letters.filter(({ key }) => fresh.has(key)));
    const [first] = looks.filter(({ id }) => fresh.has(id));
    log.error({ module: module.apiName, records: fresh.size, first }, 'records cannot be looked at; they are kept aside, and the others go on');
  }

  #letterOf({ id, code, cause }: LookAside): DeadLetter {
    return { source: 'look', key: id, position: { module: this.#deps.module.apiName, id }, code, cause };
  }

  async #noteAnswered(ids: readonly string[]): Promise<void> {
    const noted = ids.filter((id) => (this.#aside.has(id) || this.#noted.has(id)) && !this.#putOff.has(id));
    if (noted.length > 0) await this.#deps.aside.answered(this.#deps.module.apiName, noted);
    for (const id of ids) {
      this.#aside.delete(id);
      this.#noted.delete(id);
    }
  }

  /** A look may be too early: the CRM notifies of a change before every read shows it. What stays invisible is noted as hidden. */
  async #lookAgainAt(taken: Taken, found: ReadonlySet<string | null>, news: ReadonlySet<string>): Promise<void> {
    const { register, module } = this.#deps;
    const hidden: string[] = [];
    for (const [id, [pending]] of taken) {
      if (pending === undefined) continue;
      if (news.has(id)) this.#again.forget(id);
      else if (isOwnHint(pending.hint) || this.#pace.lingerMs > LATE_LOOK_MS || !this.#again.later(pending)) {
        if (!found.has(id)) hidden.push(id);
      }
    }
    await register.hidden(module.apiName, hidden);
  }

  #noteFailure(error: unknown): void {
    const { log, module, signal } = this.#deps;
    if (signal.aborted) return;
    const isLasting = error instanceof CrmError && !error.retryable;
    const pauseMs = this.#pace.failed(isLasting);
    log[isLasting ? 'error' : 'warn']({ err: error, module: module.apiName, failures: this.#pace.failures, pauseMs }, 'a look failed and will be tried again');
  }
}
