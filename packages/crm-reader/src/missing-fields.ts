import { type CrmClient, type CrmError, fieldNamedBy, isOfAField } from '@lockstep/crm-client';
import type { BulkRunRow, BulkRuns, CatchUps, FieldMissing, FieldsMissing } from '@lockstep/postgres';
import { loop, type Logger, realTime, type Time } from '@lockstep/telemetry';

import type { ReaderMetrics } from './metrics.ts';

/** The calls that read fields by name in a query. */
export type FieldReadings = Pick<CrmClient, 'lookAt' | 'changedSince' | 'recordsBetween'>;

export type MissingFieldsDeps = {
  readonly crm: FieldReadings & Pick<CrmClient, 'time'>;
  /** What is missing, across restarts. */
  readonly store: FieldsMissing;
  readonly catchUps: Pick<CatchUps, 'want'>;
  /** Exports that left a field out. */
  readonly runs: Pick<BulkRuns, 'all' | 'start'>;
  readonly metrics: ReaderMetrics;
  readonly log: Logger;
  readonly time?: Time;
};

const NO_RECORD = '1';
/** What was changed so long before a refusal may have been read no more. */
/** More than clocks are set by mistake: one hour, of daylight saving or of a time zone. */
const CLOCKS_APART_MS = 2 * 3_600_000;
const MARGIN_MS = 60_000;
/** From one question whether a field is back to the next; it doubles. Each costs a credit. */
const ASK_MS = { first: 60_000, most: 15 * 60_000 };
const CHECK_EVERY_MS = 5_000;

type Missing = Omit<FieldMissing, 'module' | 'field'> & { readonly dueAt: number; readonly asked: number; /** The run that reads what was missed. */ readonly runId?: number };

/**
 * A field that was removed or renamed, or may not be read any more, is refused with the whole query. It is found (the refusal names it; where it does not, queries are halved),
 * noted, and left out of every reading from then on: an observation without a field leaves its column as it is. It is asked about again, and once it is read, a
 * catch-up from its first refusal on reads what was missed; or the whole module is read again, where its first load had to do without the field.
 */
export class MissingFields {
  readonly #deps: MissingFieldsDeps;
  readonly #time: Time;
  /** By module and field. */
  readonly #missing = new Map<string, Map<string, Missing>>();
  /** The calls of the CRM client, without what is missing. */
  readonly readings: FieldReadings;

  constructor(deps: MissingFieldsDeps) {
    const { crm } = deps;
    this.#deps = deps;
    this.#time = deps.time ?? realTime;
    this.readings = {
      lookAt: (options) => this.#read(options.module, options.fields, (fields) => crm.lookAt({ ...options, fields })),
      changedSince: (options) => this.#read(options.module, options.fields, (fields) => crm.changedSince({ ...options, fields })),
      recordsBetween: (range) => this.#read(range.module, range.fields, (fields) => crm.recordsBetween({ ...range, fields })),
    };
  }

  /** Recalls what was missing before, and what exports have been refused for since. */
  async recall(): Promise<void> {
    for (const { module, field, ...missing } of await this.#deps.store.all()) {
      const known = this.#of(module).get(field);
      if (known === undefined || (known.isBack && !missing.isBack)) this.#of(module).set(field, { ...missing, dueAt: 0, asked: 0 });
    }
    this.#report();
  }

  /** Fields of a module that are left out at present. */
  of(module: string): ReadonlySet<string> {
    return new Set([...this.#of(module)].filter(([, { isBack }]) => !isBack).map(([field]) => field));
  }

  /** Fields of a module that an export may lack: also those that are back, until what was missed is requested or read. */
  async mayBeAbsent(module: string): Promise<ReadonlySet<string>> {
    await this.recall();
    return new Set(this.#of(module).keys());
  }

  /** Asks about fields that are due, and requests what was missed of those that are back. */
  async checkDue(): Promise<void> {
    await this.recall();
    for (const [module, fields] of this.#missing) {
      for (const [field, missing] of fields) if (!missing.isBack && this.#time.elapsed() >= missing.dueAt) await this.#askFor(module, field, missing);
      const back = new Map([...fields].filter(([, { isBack }]) => isBack));
      if (back.size > 0) await this.#requestMissed(module, back);
    }
    this.#report();
  }

  /** Checks whatever becomes due, until the signal. */
  keepChecking(signal: AbortSignal): Promise<void> {
    return loop({ name: 'missing fields', everyMs: CHECK_EVERY_MS, signal, log: this.#deps.log, time: this.#time, body: () => this.checkDue() });
  }

  async #read<T>(module: string, fields: readonly string[], call: (fields: readonly string[]) => Promise<T>): Promise<T> {
    for (;;) {
      const missing = this.of(module);
      const wanted = fields.filter((field) => !missing.has(field));
      try {
        return await call(wanted);
      } catch (error) {
        if (!isOfAField(error) || wanted.length === 0) throw error;
        const guilty = fieldNamedBy(error, wanted) ?? (await this.#guiltyAmong(module, wanted));
        // Each round leaves out one field more.
        if (guilty === null) throw error;
        await this.#note(module, guilty, error);
      }
    }
  }

  /** Halves the fields of a query for no record until the one that is refused is alone; null where it is none of them. */
  async #guiltyAmong(module: string, fields: readonly string[]): Promise<string | null> {
    if (!(await this.#isReadable(module, [])) || (await this.#isReadable(module, fields))) return null;
    let among = fields;
    while (among.length > 1) {
      const half = among.slice(0, Math.ceil(among.length / 2));
      among = (await this.#isReadable(module, half)) ? among.slice(half.length) : half;
    }
    return among[0] ?? null;
  }

  async #isReadable(module: string, fields: readonly string[]): Promise<boolean> {
    try {
      await this.#deps.crm.lookAt({ module, fields, ids: [NO_RECORD] });
      return true;
    } catch (error) {
      if (!isOfAField(error)) throw error;
      return false;
    }
  }

  async #note(module: string, field: string, error: CrmError): Promise<void> {
    const { crm, store, log } = this.#deps;
    const since = new Date(crm.time().earliestMs - MARGIN_MS);
    const cause = error.message.slice(0, 500);
    await store.note({ module, field, cause, since });
    const before = this.#of(module).get(field);
    this.#of(module).set(field, { cause, since: before?.since ?? since, isBack: false, dueAt: this.#time.elapsed() + ASK_MS.first, asked: 1 });
    this.#report();
    log.error({ err: error, module, field }, 'the CRM refuses a mapped field: it is left out, and its column stays as it is; restore the field or its permission, or change the mapping');
  }

  async #askFor(module: string, field: string, missing: Missing): Promise<void> {
    const { store, log } = this.#deps;
    if (await this.#isReadable(module, [field])) {
      await store.back(module, field);
      this.#of(module).set(field, { ...missing, isBack: true, dueAt: this.#time.elapsed() });
      log.info({ module, field, since: missing.since }, 'a field is read again');
      return;
    }
    const pauseMs = Math.min(ASK_MS.first * 2 ** Math.min(missing.asked, 20), ASK_MS.most);
    this.#of(module).set(field, { ...missing, dueAt: this.#time.elapsed() + pauseMs, asked: missing.asked + 1 });
  }

  /** A catch-up, or an export without the fields, may be under way: then again in the next round. */
  async #requestMissed(module: string, fields: ReadonlyMap<string, Missing>): Promise<void> {
    const since = Math.min(...[...fields.values()].map((one) => one.since.getTime()));
    const all = (await this.#deps.runs.all()).filter((run) => run.module === module);
    // One that began before may have requested its later pages without them. When it ended is of another clock, which may be off.
    const endedSince = since - CLOCKS_APART_MS;
    const without = all.filter(({ firstJobCreatedAt, finishedAt }) => firstJobCreatedAt instanceof Date && (finishedAt?.getTime() ?? endedSince) >= endedSince);
    if (without.some(({ state }) => state === 'running')) return;
    const load = without.find(({ kind, state }) => kind === 'initial' && state === 'complete');
    if (load === undefined) {
      const isWanted = await this.#deps.catchUps.want(module, { from: new Date(since), deletedFrom: new Date(since), isSecondPass: false, isRestoreScan: false });
      return isWanted ? await this.#forget(module, fields.keys()) : undefined;
    }
    const isRead = [...fields.values()].every(({ runId }) => all.some(({ id, state }) => id === runId && state === 'complete'));
    if (isRead) return await this.#forget(module, fields.keys());
    await this.#readAgain(module, fields, load);
  }

  /** The whole module: its first load had to do without the fields. */
  async #readAgain(module: string, fields: ReadonlyMap<string, Missing>, load: BulkRunRow): Promise<void> {
    const { runs, log } = this.#deps;
    if ([...fields.values()].some(({ dueAt }) => this.#time.elapsed() < dueAt)) return;
    const run = await runs.start(module, 'refresh', { expectedRows: load.expectedRows ?? null });
    if (run === null) return;
    log.info({ module, fields: [...fields.keys()], run: run.id }, 'the first load had to do without fields that are back: the whole module is read again');
    // One that fails is begun again after that.
    for (const [field, missing] of fields) this.#of(module).set(field, { ...missing, runId: run.id, dueAt: this.#time.elapsed() + ASK_MS.most });
  }

  async #forget(module: string, fields: Iterable<string>): Promise<void> {
    for (const field of fields) {
      await this.#deps.store.done(module, field);
      this.#of(module).delete(field);
    }
  }

  #of(module: string): Map<string, Missing> {
    const known = this.#missing.get(module) ?? new Map<string, Missing>();
    this.#missing.set(module, known);
    return known;
  }

  #report(): void {
    for (const module of this.#missing.keys()) this.#deps.metrics.fieldsMissing.set({ module }, this.of(module).size);
  }
}
