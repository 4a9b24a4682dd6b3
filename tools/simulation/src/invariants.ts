import { type ModuleDefinition, topicOf } from '@lockstep/modules';
import { canonicalJson, contentHash, coverage, isAliveBy, isSettledBy } from '@lockstep/record-log';

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
 * Watches a world: freshness never claims what is not there, and after quiet the tables equal the CRM. It knows the truth from
 * the CRM itself, and nothing of how the tables came about.
 */
export class Watch {
  readonly #world: World;
  /** Records that changed, and that no claim covers yet. */
  readonly #open = new Map<ModuleDefinition, Set<string>>();
  /** Restored without anybody having to be told, or stamped with a time to come: scan, second pass and refresh are for them, and no claim is made about them. */
  readonly #unclaimed = new Set<string>();
  /** Changed without a new `Modified_Time`: they are the refresh's. */
  readonly #untimed = new Set<string>();
  #checks = 0;
  /** Until then the CRM stamps with times that it has stamped with before: no claim is made about what changes. */
  #stampsAgainUntilMs = Number.NEGATIVE_INFINITY;

  constructor(world: World) {
    this.#world = world;
    for (const module of world.options.modules) this.#open.set(module, new Set(world.crm.records.ids(module.apiName)));
  }

  get checks(): number {
    return this.#checks;
  }

  /** The CRM's clock was set back by so much. */
  setBack(ms: number): void {
    this.#stampsAgainUntilMs = Math.max(this.#stampsAgainUntilMs, this.#world.time.elapsed() + ms + AGAIN_MARGIN_MS);
  }

  /** For how long the CRM still stamps with times of before; negative when it does not. */
  get stampsAgainForMs(): number {
    return this.#stampsAgainUntilMs - this.#world.time.elapsed();
  }

  changed(module: ModuleDefinition, id: string): void {
    if (this.#world.time.elapsed() < this.#stampsAgainUntilMs) this.#unclaimed.add(`${module.apiName}/${id}`);
    this.#open.get(module)?.add(id);
  }

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

  /** @throws {Violation} when a claim of freshness is not true now. */
  check(): void {
    for (const module of this.#world.options.modules) {
      const { seenUpTo, settledUpTo } = this.#world.tables.freshness(module);
      if (seenUpTo === null) continue;
      for (const id of this.#open.get(module) ?? []) {
        const changedMs = this.#changedMs(module, id);
        if (changedMs === undefined || changedMs >= seenUpTo.getTime()) continue;
        const problem = this.#difference(module, id, { isExact: changedMs < (settledUpTo?.getTime() ?? 0) });
        if (problem !== null && !this.#unclaimed.has(`${module.apiName}/${id}`)) throw new Violation(`${module.apiName} is said to be seen up to ${seenUpTo.toISOString()}, but ${id}, last changed ${new Date(changedMs).toISOString()}, ${problem}`);
        this.#checks += 1;
        if (problem === null && changedMs < (settledUpTo?.getTime() ?? 0)) this.#open.get(module)?.delete(id);
      }
    }
  }

  /** Whether the tables stand at the end of the log. */
  isProjected(): boolean {
    const { tables, log, options } = this.#world;
    return options.modules.every((module) => log.ends(topicOf(module)).every(({ high }, partition) => tables.next(module, partition) === high));
  }

  /** @throws {Violation} unless the tables equal the CRM in every value of every record. */
  checkEquality(): void {
    const { crm, tables, options } = this.#world;
    if (!this.isProjected()) throw new Violation('the projector is not at the end of the log');
    for (const module of options.modules) {
      for (const id of new Set([...crm.records.ids(module.apiName), ...tables.records(module.apiName).keys()])) {
        const problem = this.#difference(module, id, { isExact: true, isFinal: true });
        if (problem !== null) throw new Violation(`after quiet, two catch-ups and a refresh, ${module.apiName} ${id} ${problem}`);
      }
    }
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
    const record = tables.record(module.apiName, id);
    const live = record?.live;
    const times = { modifiedMs: live?.modifiedMs, observedMs: live?.observedMs, deletedMs: record?.deletedMs, listedMs: record?.listedMs };
    const isShown = isAliveBy(times, options.epsilonMs);
    // What was stamped with a time to come is settled once that has come.
    const isToCome = isShown && (live?.modifiedMs ?? 0) > this.#world.time.now() - 10 * 60_000;
    if (isFinal && !isToCome && !isSettledBy(times, options.epsilonMs)) return 'is not settled, and will never be';
    if (truth === undefined) return isShown ? 'is deleted, and its row is not' : null;
    if (live === undefined) return 'has no row';
    if (!isShown) return 'exists, and its row is marked as deleted';
    if (live.modifiedMs !== truth.modifiedMs) return `was modified ${new Date(truth.modifiedMs).toISOString()}, its row says ${new Date(live.modifiedMs).toISOString()}`;
    if (!isExact || (!isFinal && this.#untimed.has(`${module.apiName}/${id}`))) return null;
    const fields = module.fields.map(({ field, kind }) => canonicalJson(kind, truth.value(field)));
    const names = coverage(module.fields.map(({ field }) => field));
    if (contentHash(names.id, JSON.stringify(fields)) !== live.hash) return `holds ${JSON.stringify(fields)}, its row ${JSON.stringify(record?.content?.fields)}`;
    if (JSON.stringify(fields) !== JSON.stringify(record?.content?.fields)) return `holds ${JSON.stringify(fields)}, its row ${JSON.stringify(record?.content?.fields)} under the same hash`;
    return null;
  }
}
