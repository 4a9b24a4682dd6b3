import { type CrmClient, CrmError, type FieldMeta } from '@lockstep/crm-client';
import { loggedFields, type ModuleDefinition } from '@lockstep/modules';
import { type MultiSelect, multiSelectReader } from '@lockstep/record-log';
import { loop, type Logger, realTime, type Time } from '@lockstep/telemetry';

import type { ReaderMetrics } from './metrics.ts';

/** What the CRM's fields metadata says of a module's logged fields, as far as values depend on it. */
export type ModuleFacts = {
  /** False while it could not be read: then nothing is cut, and any text may have been. */
  readonly isKnown: boolean;
  /** By field, how its multi-select cells are read. */
  readonly multiSelects: ReadonlyMap<string, (cell: string) => MultiSelect>;
  /** Fields of rich text: queries may cut them. */
  readonly richTexts: ReadonlySet<string>;
  /** Fields that hold long texts, rich or not. */
  readonly textareas: ReadonlySet<string>;
};

/** Facts by module, and a way to say that they do not hold. */
export type FieldFactsSource = {
  of(apiName: string): ModuleFacts;
  /** The CRM gave a value that the facts do not explain: they are read again soon. */
  contradicted(apiName: string): void;
};

const unknown: ModuleFacts = { isKnown: false, multiSelects: new Map(), richTexts: new Set(), textareas: new Set() };

/** The facts of a reader that has none. */
export const noFacts: FieldFactsSource = { of: () => unknown, contradicted: () => undefined };

export type FieldFactsDeps = {
  readonly crm: Pick<CrmClient, 'fieldsOf'>;
  readonly modules: readonly ModuleDefinition[];
  readonly metrics: ReaderMetrics;
  readonly log: Logger;
  readonly time?: Time;
};

const EVERY_MS = 60 * 60_000;
/** The first pause after a failure or a contradiction; it doubles up to {@link EVERY_MS}. */
const SOON_MS = 60_000;
const CHECK_EVERY_MS = 1_000;

type State = { facts: ModuleFacts; meta: string; dueAt: number; readAt: number; troubles: number };

/**
 * The fields metadata of the modules, in memory: read before anything else of them is, again each hour, and sooner, with a back-off, where it could not be read
 * or a value contradicts it. Work goes on with what was read last, or with nothing.
 */
export class FieldFacts implements FieldFactsSource {
  readonly #deps: FieldFactsDeps;
  readonly #time: Time;
  readonly #states: ReadonlyMap<string, State>;

  constructor(deps: FieldFactsDeps) {
    this.#deps = deps;
    this.#time = deps.time ?? realTime;
    this.#states = new Map(deps.modules.map(({ apiName }) => [apiName, { facts: unknown, meta: '', dueAt: 0, readAt: 0, troubles: 0 }]));
  }

  of(apiName: string): ModuleFacts {
    return this.#states.get(apiName)?.facts ?? unknown;
  }

  contradicted(apiName: string): void {
    const state = this.#states.get(apiName);
    if (state !== undefined) state.dueAt = Math.min(state.dueAt, state.readAt + pauseMs(state.troubles));
  }

  /** Reads what is due. Never rejects: what cannot be read is tried again later. */
  async readDue(): Promise<void> {
    for (const module of this.#deps.modules) {
      const state = this.#states.get(module.apiName) as State;
      if (this.#time.elapsed() >= state.dueAt) await this.#read(module, state);
    }
  }

  /** Reads whatever becomes due, until the signal. */
  keepReading(signal: AbortSignal): Promise<void> {
    return loop({ name: 'fields metadata', everyMs: CHECK_EVERY_MS, signal, log: this.#deps.log, time: this.#time, body: () => this.readDue() });
  }

  async #read(module: ModuleDefinition, state: State): Promise<void> {
    const { crm, log, metrics } = this.#deps;
    try {
      const fields = await crm.fieldsOf(module.apiName);
      const meta = JSON.stringify(fields);
      // What is read again and found the same explains no more than before.
      const isNews = meta !== state.meta;
      Object.assign(state, { facts: factsOf(module, fields), meta, readAt: this.#time.elapsed(), dueAt: this.#time.elapsed() + EVERY_MS, troubles: isNews ? 0 : state.troubles + 1 });
    } catch (error) {
      state.troubles += 1;
      state.dueAt = this.#time.elapsed() + pauseMs(state.troubles);
      const isRefused = error instanceof CrmError && error.code === 'CRM_UNAUTHORIZED';
      log.warn({ err: error, module: module.apiName, isRefused }, 'the fields metadata cannot be read: multi-select values are not cut, and long texts are read singly; see the scopes in the README');
    }
    metrics.fieldsKnown.set({ module: module.apiName }, state.facts.isKnown ? 1 : 0);
  }
}

const pauseMs = (troubles: number): number => Math.min(SOON_MS * 2 ** Math.max(0, troubles - 1), EVERY_MS);

function factsOf(module: ModuleDefinition, fields: readonly FieldMeta[]): ModuleFacts {
  const logged = loggedFields(module);
  // A list without one of our fields is no reason for guesses either.
  const isKnown = fields.length > 0;
  const byName = new Map(fields.map((field) => [field.apiName, field]));
  const lists = logged.filter(({ kind }) => kind === 'multiselect').flatMap(({ field }) => byName.get(field) ?? []);
  return {
    isKnown,
    multiSelects: new Map(lists.map(({ apiName, values }) => [apiName, multiSelectReader(values)])),
    textareas: new Set(logged.filter(({ field }) => typeof byName.get(field)?.textarea === 'string').map(({ field }) => field)),
    richTexts: new Set(logged.filter(({ field }) => byName.get(field)?.textarea === 'rich_text').map(({ field }) => field)),
  };
}
