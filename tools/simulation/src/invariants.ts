import { STALE_AT_MOST_MS } from '@lockstep/completeness';
import type { LiveRecord } from '@lockstep/crm-simulator';
import { type ModuleDefinition, topicOf } from '@lockstep/modules';
import { canonicalJson, contentHash, coverage, isSettledBy } from '@lockstep/record-log';

import { type Blocked, Excuses, nothingBlocked, parkedRecords } from './excuses.ts';
import type { World } from './world.ts';

/** Skew of hosts, and rounding. */
const AGAIN_MARGIN_MS = 60_000;

/** Something that must never be. */
export class Violation extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'Violation';
  }
}

/**
 * Watches a world: freshness never claims what is not there, no message is applied twice or skipped, and after quiet the tables equal the CRM. It
 * knows the truth from the CRM itself, and nothing of how the tables came about.
 */
export class Watch {
  readonly #world: World;
  /** Records that changed, and that no claim covers yet. */
  readonly #open = new Map<ModuleDefinition, Set<string>>();
  /** Restored without a notification, or stamped with a time to come: scan, second pass and refresh are for them, and no claim is made about them. */
  readonly #unclaimed = new Set<string>();
  /** Changed without a new `Modified_Time`: they are the refresh's. */
  readonly #untimed = new Set<string>();
  readonly #positions = new Map<string, number>();
  /** A move of a position that must not be. */
  #moved: string | null = null;
  #checks = 0;
  /** Until then the CRM stamps with times that it has stamped with before: no claim is made about what changes. */
  #stampsAgainUntilMs = Number.NEGATIVE_INFINITY;

  constructor(world: World) {
    this.#world = world;
    world.onAdvanced = (partition, from, to) => this.#notePosition(partition, from, to);
    for (const module of world.options.modules) this.#open.set(module, new Set(world.crm.records.ids(module.apiName)));
  }

  get checks(): number {
    return this.#checks;
  }

  /** The CRM's clock was set back by so much. */
  setBack(ms: number): void {
    this.#stampsAgainUntilMs = Math.max(this.#stampsAgainUntilMs, this.#world.time.elapsed() + ms + AGAIN_MARGIN_MS);
  }

  /** Whether the CRM ever stamped with times of before. */
  get wasSetBack(): boolean {
    return this.#stampsAgainUntilMs > Number.NEGATIVE_INFINITY;
  }

  /** For how long the CRM still stamps with times of before; negative when it does not. */
  get stampsAgainForMs(): number {
    return this.#stampsAgainUntilMs - this.#world.time.elapsed();
  }

  changed(module: ModuleDefinition, id: string): void {
    if (this.#world.time.elapsed() < this.#stampsAgainUntilMs) this.#unclaimed.add(`${module.apiName}/${id}`);
    this.#open.get(module)?.add(id);
  }

  /** Out of the recycle bin, with the old `Modified_Time`: the CRM need not notify that. */
  restored(module: ModuleDefinition, id: string): void {
    this.#unclaimed.add(`${module.apiName}/${id}`);
    this.changed(module, id);
  }

  /** Imported with a `Modified_Time` in the future: later edits seem older. */
  stampedAhead(module: ModuleDefinition, id: string): void {
    this.#unclaimed.add(`${module.apiName}/${id}`);
    this.changed(module, id);
  }

  changedWithoutTime(module: ModuleDefinition, id: string): void {
    this.#untimed.add(`${module.apiName}/${id}`);
  }

  /** @throws {Violation} when a claim of freshness is not true now, or a position was moved by one that did not know it. */
  check(): void {
    if (this.#moved !== null) throw new Violation(this.#moved);
    for (const module of this.#world.options.modules) {
      const { seenUpTo, settledUpTo } = this.#world.tables.freshness(module);
      if (seenUpTo !== null) this.#checkClaims(module, seenUpTo.getTime(), settledUpTo?.getTime() ?? 0);
    }
  }

  #checkClaims(module: ModuleDefinition, seenUpToMs: number, settledUpToMs: number): void {
    // What is parked is counted in the freshness statement, and nothing else is claimed about it.
    const parked = parkedRecords(this.#world);
    const open = this.#open.get(module) ?? new Set();
    for (const id of open) {
      const key = `${module.apiName}/${id}`;
      const changedMs = this.#changedMs(module, id);
      if (changedMs === undefined || changedMs >= seenUpToMs || parked.has(key)) continue;
      const problem = this.#difference(module, id, { isExact: changedMs < settledUpToMs });
      if (problem !== null && !this.#unclaimed.has(key)) throw new Violation(`${module.apiName} is said to be seen up to ${new Date(seenUpToMs).toISOString()}, but ${id}, last changed ${new Date(changedMs).toISOString()}, ${problem}`);
      this.#checks += 1;
      if (problem === null && changedMs < settledUpToMs) open.delete(id);
    }
  }

  /** Each message is applied by one transaction, and none is skipped, whichever process believes what. */
  #notePosition(partition: string, from: number, to: number): void {
    const stood = this.#positions.get(partition) ?? 0;
    if (from !== stood || to < from) this.#moved ??= `${partition} stood at ${stood}, and was moved from ${from} to ${to}`;
    this.#positions.set(partition, to);
  }

  /** Whether the tables stand at the end of the log. */
  isProjected(): boolean {
    const { tables, log, options } = this.#world;
    return options.modules.every((module) => log.ends(topicOf(module)).every(({ high }, partition) => tables.projection.next(module.apiName, partition) === high));
  }

  /**
   * @param after what the world was given time for, as a message names it.
   * @param blocked what the CRM refuses meanwhile.
   * @throws {Violation} unless the tables equal the CRM in every value of every record, and nothing is parked but what cannot be otherwise.
   */
  checkEquality(after: string, blocked: Blocked = nothingBlocked): void {
    const { crm, tables, options } = this.#world;
    if (!this.isProjected()) throw new Violation('the projector is not at the end of the log');
    const excuses = new Excuses(this.#world, blocked);
    const parked = parkedRecords(this.#world);
    for (const module of options.modules) {
      for (const id of new Set([...crm.records.ids(module.apiName), ...tables.records(module.apiName).keys()])) {
        if (excuses.isExcused(module.apiName, id)) continue;
        const problem = this.#difference(module, id, { isExact: true, isFinal: true });
        if (problem !== null) throw new Violation(`after ${after}, ${module.apiName} ${id} ${problem}`);
        if (parked.has(`${module.apiName}/${id}`) && !this.#isStampedLater(module, id)) throw new Violation(`after ${after}, ${module.apiName} ${id} is as in the CRM, and counted as parked`);
      }
    }
  }

  /** Whether what is parked bears a time that no look lies clearly after: the database's clock may have been ahead when it was parked. */
  #isStampedLater({ apiName }: ModuleDefinition, id: string): boolean {
    const { tables } = this.#world;
    const seenMs = tables.record(apiName, id)?.live?.observedMs ?? Number.NEGATIVE_INFINITY;
    return tables.projection.parked(apiName).filter((one) => one.id === id).every(({ register: { live } }) => live !== undefined && live.modifiedMs + STALE_AT_MOST_MS >= seenMs);
  }

  /** When a record last changed, by the CRM's own stamp. */
  #changedMs({ apiName }: ModuleDefinition, id: string): number | undefined {
    const truth = this.#world.crm.records.truth(apiName, id);
    return truth?.modifiedMs ?? this.#world.crm.records.deletion(apiName, id);
  }

  /** How a row differs from the record, or null. */
  #difference(module: ModuleDefinition, id: string, { isExact, isFinal = false }: { isExact: boolean; isFinal?: boolean }): string | null {
    const { crm, tables, options } = this.#world;
    const truth = crm.records.truth(module.apiName, id);
    const { live, content, deletedMs, listedMs } = tables.record(module.apiName, id) ?? {};
    const isShown = tables.isShown(module.apiName, id);
    // What was stamped with a time to come is settled once that has come.
    const isToCome = isShown && (live?.modifiedMs ?? 0) > this.#world.time.now() - 10 * 60_000;
    if (isFinal && !isToCome && !isSettledBy({ modifiedMs: live?.modifiedMs, observedMs: live?.observedMs, deletedMs, listedMs }, options.epsilonMs)) return 'is not settled, and will never be';
    if (truth === undefined) return isShown ? 'is deleted, and its row is not' : null;
    if (live === undefined) return 'has no row';
    if (!isShown) return 'exists, and its row is marked as deleted';
    if (live.modifiedMs !== truth.modifiedMs) return `was modified ${new Date(truth.modifiedMs).toISOString()}, its row says ${new Date(live.modifiedMs).toISOString()}`;
    if (!isExact || (!isFinal && this.#untimed.has(`${module.apiName}/${id}`))) return null;
    const missing = isFinal ? [] : this.#world.fieldsMissing.of(module.apiName).map(({ field }) => field);
    if (missing.length > 0) return differenceWithout(module, missing, truth, content?.fields ?? []);
    const fields = JSON.stringify(module.fields.map(({ field, kind }) => canonicalJson(kind, truth.value(field))));
    const shown = JSON.stringify(content?.fields);
    if (contentHash(this.#coverageOf(module), fields) !== live.hash) return `holds ${fields}, its row ${shown}`;
    return fields === shown ? null : `holds ${fields}, its row ${shown} under the same hash`;
  }

  readonly #coverages = new Map<ModuleDefinition, string>();

  #coverageOf(module: ModuleDefinition): string {
    const known = this.#coverages.get(module) ?? coverage(module.fields.map(({ field }) => field)).id;
    this.#coverages.set(module, known);
    return known;
  }
}

/** How a row differs in what is said of it: nothing is said of fields that are missing. A content may have them from before, or not. */
function differenceWithout({ fields }: ModuleDefinition, missing: readonly string[], truth: LiveRecord, content: readonly unknown[]): string | null {
  const known = fields.filter(({ field }) => !missing.includes(field));
  const shown = JSON.stringify(content.length === fields.length ? content.filter((_, at) => known.includes(fields[at] as (typeof fields)[number])) : content);
  const held = JSON.stringify(known.map(({ field, kind }) => canonicalJson(kind, truth.value(field))));
  return held === shown ? null : `holds ${held}, its row ${shown}, without ${missing.join(' and ')}`;
}
