import { type CrmClient, CrmError } from '@lockstep/crm-client';
import type { CatchUps, FieldMissing, FieldsMissing } from '@lockstep/postgres';
import { loop, type Logger, realTime, type Time } from '@lockstep/telemetry';

import type { ReaderMetrics } from './metrics.ts';

/** The calls that read fields by name in a query. */
export type FieldReadings = Pick<CrmClient, 'lookAt' | 'changedSince' | 'recordsBetween'>;

export type MissingFieldsDeps = {
  readonly crm: FieldReadings & Pick<CrmClient, 'time'>;
  /** What is missing, across restarts. */
  readonly store: FieldsMissing;
  readonly catchUps: Pick<CatchUps, 'want'>;
  readonly metrics: ReaderMetrics;
  readonly log: Logger;
  readonly time?: Time;
};

/** The CRM's words for a query that names what it does not have. */
const OF_A_FIELD: ReadonlySet<string> = new Set(['INVALID_QUERY', 'SYNTAX_ERROR', 'FIELD_NOT_AVAILABLE', 'FIELD_NOT_SUPPORTED']);
const NO_RECORD = '1';
/** What was changed so long before a refusal may have been read no more. */
const MARGIN_MS = 60_000;
/** From one question whether a field is back to the next; it doubles. Each costs a credit. */
const ASK_MS = { first: 60_000, most: 15 * 60_000 };
const CHECK_EVERY_MS = 5_000;

type Missing = Omit<FieldMissing, 'module' | 'field'> & { readonly dueAt: number; readonly asked: number };

/**
 * A field that was removed or renamed, or may not be read any more, is refused with the whole query. It is found (the refusal names it; where it does not, queries are halved),
 * noted, and left out of every reading from then on: an observation without a field leaves its column as it is. It is asked about again, and once it is read, a
 * catch-up from its first refusal on reads what was missed.
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

  /** Recalls what was missing before. */
  async recall(): Promise<void> {
    for (const { module, field, ...missing } of await this.#deps.store.all()) this.#of(module).set(field, { ...missing, dueAt: 0, asked: 0 });
    this.#report();
  }

  /** Fields of a module that are left out at present. */
  of(module: string): ReadonlySet<string> {
    return new Set([...this.#of(module)].filter(([, { isBack }]) => !isBack).map(([field]) => field));
  }

  /** Asks about fields that are due, and requests what was missed of those that are back. */
  async checkDue(): Promise<void> {
    for (const [module, fields] of this.#missing) {
      for (const [field, missing] of fields) {
        if (!missing.isBack && this.#time.elapsed() >= missing.dueAt) await this.#askFor(module, field, missing);
        if (fields.get(field)?.isBack === true) await this.#requestMissed(module, field, missing.since);
      }
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
        const guilty = namedIn(error, wanted) ?? (await this.#guiltyAmong(module, wanted));
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
      this.#of(module).set(field, { ...missing, isBack: true });
      log.info({ module, field, since: missing.since }, 'a field is read again');
      return;
    }
    const pauseMs = Math.min(ASK_MS.first * 2 ** Math.min(missing.asked, 20), ASK_MS.most);
    this.#of(module).set(field, { ...missing, dueAt: this.#time.elapsed() + pauseMs, asked: missing.asked + 1 });
  }

  /** A catch-up may be under way already: then again in the next round. */
  async #requestMissed(module: string, field: string, since: Date): Promise<void> {
    const { catchUps, store } = this.#deps;
    if (!(await catchUps.want(module, { from: since, deletedFrom: since, isSecondPass: false, isRestoreScan: false }))) return;
    await store.done(module, field);
    this.#of(module).delete(field);
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

const isOfAField = (error: unknown): error is CrmError => error instanceof CrmError && error.code === 'CRM_REFUSED' && OF_A_FIELD.has(error.crmCode);

/** The field that a refusal names, whatever the key: `column_name` of queries, `field` of jobs. */
const namedIn = ({ details }: CrmError, fields: readonly string[]): string | null => fields.find((field) => Object.values(details).includes(field)) ?? null;
