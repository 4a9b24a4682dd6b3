import type { ModuleDefinition } from '@lockstep/modules';

import { Violation, type Watch } from '../invariants.ts';
import type { World } from '../world.ts';
import { probed } from './standing-faults.ts';

type Probe = { readonly module: ModuleDefinition; readonly id: string; readonly value: string; readonly atMs: number; readonly atMostMs: number };

/** A change that was notified: the CRM sends it within 3.1 s, and rounds of the virtual processes take as long again. */
const NOTIFIED_MS = 20_000;
/** One that no notification is about is the next catch-up's, once the module is loaded. */
const READ_MS = 30 * 60_000;

/** Edits records all over, and holds the world to the time in which each edit has to be in its row. */
export class Probes {
  readonly #world: World;
  readonly #watch: Watch;
  readonly #open = new Map<string, Probe>();
  made = 0;
  worstMs = 0;
  seen = 0;

  constructor(world: World, watch: Watch) {
    this.#world = world;
    this.#watch = watch;
  }

  /** Edits a record of each module. @param isLate whether the module's changes without a notification may be late for as long as the fault stands. */
  edit(isTouched: (module: string, id: string) => boolean, isLate: (module: string) => boolean): void {
    const { crm, options, random, time } = this.#world;
    for (const module of options.modules) {
      const ids = crm.records.ids(module.apiName).filter((id) => !isTouched(module.apiName, id) && !this.#open.has(`${module.apiName}/${id}`));
      const id = ids[random.below(ids.length)];
      if (id === undefined) continue;
      const value = `Probe ${(this.made += 1)}`;
      const isNotified = crm.isListening(module.apiName) && this.#world.isUp('receiver');
      crm.edit(module.apiName, [id], { [probed[module.apiName] ?? '']: value });
      this.#watch.changed(module, id);
      const atMostMs = isNotified ? NOTIFIED_MS : isLate(module.apiName) ? Number.POSITIVE_INFINITY : READ_MS;
      this.#open.set(`${module.apiName}/${id}`, { module, id, value, atMs: time.now(), atMostMs });
    }
  }

  /** @throws {Violation} where an edit that nothing touches has not arrived in time. */
  check(): void {
    const { time, tables } = this.#world;
    for (const [key, { module, id, value, atMs, atMostMs }] of this.#open) {
      const waitedMs = time.now() - atMs;
      const at = module.fields.findIndex(({ field }) => field === probed[module.apiName]);
      if (tables.record(module.apiName, id)?.content?.fields[at] === value) {
        this.#open.delete(key);
        this.seen += 1;
        if (atMostMs === NOTIFIED_MS) this.worstMs = Math.max(this.worstMs, waitedMs);
      } else if (waitedMs > atMostMs) throw new Violation(`${module.apiName} ${id}, which nothing touches, was edited ${waitedMs} ms ago, and its row does not show it`);
    }
  }
}
