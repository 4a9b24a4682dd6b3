import { type CrmClient, CrmError, type FoundRecord, type Look } from '@lockstep/crm-client';
import { loggedFields, type ModuleDefinition } from '@lockstep/modules';
import type { TextCut, TextCuts } from '@lockstep/postgres';
import type { Logger } from '@lockstep/telemetry';

import type { LongText } from './bulk/long-texts.ts';
import type { FieldFactsSource } from './field-facts.ts';
import type { ReaderMetrics } from './metrics.ts';

/** A record as it was read, and the fields of which that reading may say nothing: their text may be cut. */
export type ReadRecord = FoundRecord & { readonly unread: readonly string[] };

export type WholeTextsDeps = {
  readonly crm: Pick<CrmClient, 'lookAt' | 'fullTexts' | 'readRecord' | 'rules'>;
  readonly facts: FieldFactsSource;
  readonly metrics: ReaderMetrics;
  readonly log: Logger;
  /** What was seen to be cut, across restarts. */
  readonly cuts: Pick<TextCuts, 'all' | 'note'>;
};

/** Reads again what a query may have cut. */
export type WholeTextsSource = Pick<WholeTexts, 'complete' | 'compare'>;

const whole = (record: FoundRecord): ReadRecord => ({ ...record, unread: [] });

/** Believes every text. */
export const believing: WholeTextsSource = { complete: (_, { records }) => Promise.resolve(records.map(whole)), compare: () => Promise.resolve() };

/** What lists and queries cut rich text to; a little less, for it is not documented in which unit that counts. */
const CUT_AT = 500;
const RICH_FROM = 450;
/** An ellipsis at its end may be three more. */
const CUT_UP_TO = CUT_AT + 3;
/** After so many failures in a row that may pass, the fields are left out: a call that always fails must not stop every look. */
const MAX_FAILURES = 3;

type Suspect = { readonly record: FoundRecord; readonly rich: readonly string[]; readonly other: readonly string[] };
type Texts = ReadonlyMap<string, Readonly<Record<string, unknown>>>;

/**
 * A query cuts rich text to 500 characters. So a text of such a length is not believed: it is read again, in full, and taken where the record was not modified
 * in between. Where that is refused, or brings the same cut text, the reading makes no statement about the field. Which fields are cut is known from the metadata, from
 * lengths, and from comparing a few long texts of each bulk result with what a query shows of them.
 */
export class WholeTexts {
  readonly #deps: WholeTextsDeps;
  #failures = 0;
  /** By `module.field`: characters of a text that a query has cut. */
  readonly #cuts = new Map<string, number>();

  constructor(deps: WholeTextsDeps) {
    this.#deps = deps;
  }

  /** @throws {CrmError} what may pass; the caller tries the whole look again. */
  async complete(module: ModuleDefinition, { records }: Pick<Look, 'records'>, signal?: AbortSignal): Promise<ReadRecord[]> {
    const suspects = records.flatMap((record) => this.#suspect(module, record));
    if (suspects.length === 0) return records.map(whole);
    const full = await this.#read(module, suspects, signal);
    return records.map((record) => {
      const suspect = suspects.find((one) => one.record === record);
      return suspect === undefined ? whole(record) : this.#merged(module, suspect, full.get(record.id));
    });
  }

  /** Recalls what was seen before. */
  async recall(): Promise<void> {
    for (const { module, field, characters } of await this.#deps.cuts.all()) this.#cuts.set(`${module}.${field}`, characters);
  }

  /** Compares long texts of a bulk read with what a query shows of the same version; which fields it cuts is kept. What fails is no harm: the next page brings others. */
  async compare({ apiName }: ModuleDefinition, samples: readonly LongText[], signal?: AbortSignal): Promise<void> {
    if (samples.length === 0) return;
    const { crm, cuts, log } = this.#deps;
    try {
      for (const ids of chunks([...new Set(samples.map(({ id }) => id))], crm.rules.idsPerLook)) {
        const { records } = await crm.lookAt({ module: apiName, fields: [...new Set(samples.map(({ field }) => field))], ids, ...(signal === undefined ? {} : { signal }) });
        for (const cut of samples.flatMap((sample) => cutOf(apiName, sample, records))) {
          if ((this.#cuts.get(`${apiName}.${cut.field}`) ?? Number.POSITIVE_INFINITY) <= cut.characters) continue;
          log.warn(cut, 'queries cut this field: its long texts are read singly from now on');
          this.#cuts.set(`${apiName}.${cut.field}`, cut.characters);
          await cuts.note(cut);
        }
      }
    } catch (error) {
      if (!(error instanceof CrmError) || signal?.aborted === true) throw error;
      log.warn({ err: error, module: apiName }, 'long texts could not be compared');
    }
  }

  /** Whether a field's text may be cut, by its kind and length, or by what was seen of the field. */
  #suspect(module: ModuleDefinition, record: FoundRecord): Suspect[] {
    const { isKnown, richTexts } = this.#deps.facts.of(module.apiName);
    const long = loggedFields(module).filter(({ field, kind }) => kind === 'text' && isLong(record.values[field], { isRich: richTexts.has(field), cutAt: this.#cuts.get(`${module.apiName}.${field}`) })).map(({ field }) => field);
    if (long.length === 0) return [];
    // While kinds are not known, the one call that takes every kind is tried.
    return [{ record, rich: isKnown ? long.filter((field) => richTexts.has(field)) : [], other: isKnown ? long.filter((field) => !richTexts.has(field)) : long }];
  }

  async #read(module: ModuleDefinition, suspects: readonly Suspect[], signal: AbortSignal | undefined): Promise<Texts> {
    const found = new Map<string, Record<string, unknown>>();
    const take = (id: string, values: Readonly<Record<string, unknown>>): void => void found.set(id, { ...found.get(id), ...values });
    const rich = suspects.filter((suspect) => suspect.rich.length > 0);
    const readRich = async (): Promise<void> => {
      for (const { id, values } of await this.#unmoved(module, rich, signal)) take(id, values);
    };
    if (rich.length > 0) await this.#tried(module, readRich);
    for (const { record, other } of suspects.filter((suspect) => suspect.other.length > 0)) {
      await this.#tried(module, async () => {
        const again = await this.#deps.crm.readRecord({ module: module.apiName, id: record.id, fields: other, ...(signal === undefined ? {} : { signal }) });
        if (again?.id === record.id && isSameTime(again.modifiedTime, record.modifiedTime)) take(record.id, again.values);
      });
    }
    return found;
  }

  /** Rich text comes without the record's `Modified_Time`; another look says whether it is of the same version. */
  async #unmoved({ apiName }: ModuleDefinition, suspects: readonly Suspect[], signal: AbortSignal | undefined) {
    const { crm } = this.#deps;
    const aborted = signal === undefined ? {} : { signal };
    const fields = [...new Set(suspects.flatMap(({ rich }) => rich))];
    const times = new Map(suspects.map(({ record }) => [record.id, record.modifiedTime]));
    const texts = [];
    for (const ids of chunks([...times.keys()], crm.rules.idsPerLook)) {
      const full = await crm.fullTexts({ module: apiName, ids, fields, ...aborted });
      const { records } = await crm.lookAt({ module: apiName, fields: [], ids, ...aborted });
      const same = new Set(records.filter(({ id, modifiedTime }) => isSameTime(times.get(id) ?? '', modifiedTime)).map(({ id }) => id));
      texts.push(...full.filter(({ id }) => same.has(id)));
    }
    return texts;
  }

  /** What is refused leaves its fields out. What may pass is thrown, a few times. */
  async #tried({ apiName }: ModuleDefinition, read: () => Promise<void>): Promise<void> {
    const { log } = this.#deps;
    try {
      await read();
      this.#failures = 0;
    } catch (error) {
      if (!(error instanceof CrmError)) throw error;
      if (error.retryable && ++this.#failures <= MAX_FAILURES) throw error;
      log.warn({ err: error, module: apiName }, 'long texts cannot be read in full: looks say nothing about them');
    }
  }

  #merged({ apiName }: ModuleDefinition, { record, rich, other }: Suspect, full: Readonly<Record<string, unknown>> = {}): ReadRecord {
    const { isKnown } = this.#deps.facts.of(apiName);
    const read = (field: string): string | undefined => believed(full[field], record.values[field], { isRich: rich.includes(field), isKnown, cutAt: this.#cuts.get(`${apiName}.${field}`) });
    const texts = [...rich, ...other].map((field) => [field, read(field)] as const);
    const unread = texts.filter(([, text]) => text === undefined).map(([field]) => field);
    this.#deps.metrics.longTexts.inc({ module: apiName, read: 'whole' }, texts.length - unread.length);
    this.#deps.metrics.longTexts.inc({ module: apiName, read: 'not' }, unread.length);
    return { ...record, values: { ...record.values, ...Object.fromEntries(texts.filter(([, text]) => text !== undefined)) }, unread };
  }
}

/** The offset is the calling user's, and may change between two calls. */
const isSameTime = (a: string, b: string): boolean => a === b || Date.parse(a) === Date.parse(b);

function isLong(value: unknown, { isRich, cutAt }: { isRich: boolean; cutAt: number | undefined }): boolean {
  if (typeof value !== 'string') return false;
  if (value.length >= suspectFrom(cutAt)) return true;
  return isRich ? value.length >= RICH_FROM : isAtLimit(value);
}

/** A little less than was seen: where exactly a text is cut may depend on it. */
const suspectFrom = (cutAt: number | undefined): number => (cutAt ?? Number.POSITIVE_INFINITY) * 0.9;

/** The cut of a sample, if a query shows less of it. An ellipsis may have taken the place of the last three characters. */
function cutOf(module: string, { id, modifiedMs, field, text }: LongText, records: readonly FoundRecord[]): TextCut[] {
  const record = records.find((one) => one.id === id);
  const shown = record?.values[field];
  if (record === undefined || Date.parse(record.modifiedTime) !== modifiedMs || typeof shown !== 'string') return [];
  return shown.length < text.length && text.startsWith(shown.slice(0, -3)) ? [{ module, field, characters: shown.length }] : [];
}

/** Of a length that comes of cutting, counted in UTF-16 units or in characters. */
const isAtLimit = (text: string): boolean => text.length >= CUT_AT && text.length <= 2 * CUT_UP_TO && [text.length, charactersOf(text)].some((length) => length >= CUT_AT && length <= CUT_UP_TO);

const charactersOf = (text: string): number => text.length - (text.match(/[\uD800-\uDBFF][\uDC00-\uDFFF]/g)?.length ?? 0);

/** The text of the second reading; undefined where that is no text, shorter than the first, or the same and may be cut as well. */
function believed(full: unknown, first: unknown, { isRich, isKnown, cutAt }: { isRich: boolean; isKnown: boolean; cutAt: number | undefined }): string | undefined {
  if (typeof full !== 'string' || typeof first !== 'string' || full.length < first.length) return undefined;
  const mayBeCut = (isRich || !isKnown) && isAtLimit(full);
  // The call for rich text is there to show all of it; any other may cut where the query does.
  const isSeenCut = cutAt !== undefined && full.length <= cutAt && full.length >= (isRich ? cutAt : suspectFrom(cutAt));
  return full === first && (mayBeCut || isSeenCut) ? undefined : full;
}

function chunks<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, at) => items.slice(at * size, (at + 1) * size));
}
