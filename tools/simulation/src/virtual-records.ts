import type { DeletedRecord } from '@lockstep/crm-client';
import { keyOf, type LiveRecord, Organisation } from '@lockstep/crm-simulator';
import type { ModuleDefinition } from '@lockstep/modules';
import type { Time } from '@lockstep/telemetry';

import type { VirtualTime } from './virtual-time.ts';

/** A version of a record, or its absence, from the moment that reads show it. */
type Moment = { readonly fromMs: number; readonly record: LiveRecord | undefined };
type Deletion = { readonly id: string; readonly deletedMs: number; readonly atMs: number; restoredMs: number };
type Fields = Readonly<Record<string, unknown>>;

/** How an edit is made: how late reads show it, whether it keeps `Modified_Time`, or which one it is given. */
export type EditManner = { readonly lateMs?: number; readonly keepsTime?: boolean; readonly modifiedMs?: number };

/** The simulator's organisation, with every version of every record and the moment it came to be, so that a read can show any moment. */
export class VirtualRecords {
  readonly #organisation: Organisation;
  readonly #time: VirtualTime;
  readonly #modules: ReadonlySet<string>;
  readonly #history = new Map<string, Moment[]>();
  readonly #deletions = new Map<string, Deletion[]>();

  /** @param clock the CRM's own, and `stampSkewMs` how far the host that stamps records is off it. */
  constructor({ time, clock, seed, modules, records, stampSkewMs }: { time: VirtualTime; clock: Pick<Time, 'now'>; seed: number; modules: readonly ModuleDefinition[]; records: number; stampSkewMs: number }) {
    this.#time = time;
    this.#modules = new Set(modules.map(({ apiName }) => apiName));
    const stamp = { nowMs: () => clock.now() + stampSkewMs, elapsedMs: () => time.elapsed(), step: () => undefined, sleep: (ms: number) => time.sleep(ms) };
    this.#organisation = new Organisation(stamp, seed, Object.fromEntries(modules.map(({ apiName }) => [apiName, records])));
  }

  /** Ids of live records of a module, in order. */
  ids(module: string): string[] {
    return [...this.#organisation.store(module).byKey({ from: -Infinity, to: Infinity }, false)].map(({ id }) => id);
  }

  /** What the CRM holds of a record now. */
  truth(module: string, id: string): LiveRecord | undefined {
    return this.#organisation.store(module).get(keyOf(id) ?? -1);
  }

  /** The latest deletion of a record that was not taken back. */
  deletion(module: string, id: string): number | undefined {
    return this.#deletionsOf(module).findLast((deletion) => deletion.id === id && deletion.restoredMs === Number.POSITIVE_INFINITY)?.deletedMs;
  }

  /** How many records the calling user can see. */
  visibleCount(module: string): number {
    return this.#organisation.store(module).visibleCount;
  }

  edit(module: string, ids: readonly string[], fields: Fields, { lateMs = 0, ...manner }: EditManner = {}): void {
    const before = new Map(ids.map((id) => [id, this.#organisation.record(module, id)]));
    for (const record of this.#organisation.edit(module, ids, fields, { isSilent: true, ...manner })) this.#note(module, record.id, record, before.get(record.id), lateMs);
  }

  create(module: string, fields: Fields): string {
    const record = this.#organisation.create(module, fields, true);
    this.#note(module, record.id, record, undefined);
    return record.id;
  }

  delete(module: string, id: string): void {
    const before = this.#organisation.record(module, id);
    const { deletedMs } = this.#organisation.delete(module, id);
    this.#note(module, id, undefined, before);
    this.#deletionsOf(module).push({ id, deletedMs, atMs: this.#time.now(), restoredMs: Number.POSITIVE_INFINITY });
  }

  restore(module: string, id: string): void {
    this.#note(module, id, this.#organisation.restore(module, id, true), undefined);
    const deletion = this.#deletionsOf(module).findLast((one) => one.id === id);
    if (deletion !== undefined) deletion.restoredMs = this.#time.now();
  }

  /** Merges a record into another one. @returns the records that pointed to it, by module. */
  merge(module: string, loser: string, master: string, movesReferrers: boolean): ReadonlyMap<string, readonly string[]> {
    const pointing = this.pointingTo(module, loser);
    const touched = [...[...pointing].flatMap(([name, ids]) => ids.map((id) => [name, id] as const)), [module, master] as const];
    const before = touched.map(([name, id]) => this.#organisation.record(name, id));
    const gone = this.#organisation.record(module, loser);
    const { deletedMs } = this.#organisation.merge(module, loser, master, movesReferrers);
    for (const [at, [name, id]] of touched.entries()) this.#note(name, id, this.#organisation.record(name, id), before[at]);
    this.#note(module, loser, undefined, gone);
    this.#deletionsOf(module).push({ id: loser, deletedMs, atMs: this.#time.now(), restoredMs: Number.POSITIVE_INFINITY });
    return pointing;
  }

  /** Records that point to a record, by module. */
  pointingTo(module: string, id: string): ReadonlyMap<string, readonly string[]> {
    const found = new Map<string, readonly string[]>();
    for (const { module: other } of this.#organisation.stores) {
      const lookups = other.fields.filter(({ lookupModule }) => lookupModule === module);
      if (lookups.length === 0 || !this.#modules.has(other.apiName)) continue;
      const ids = this.ids(other.apiName).filter((one) => lookups.some((field) => (this.truth(other.apiName, one)?.get(field) as { id: string } | null)?.id === id));
      if (ids.length > 0) found.set(other.apiName, ids);
    }
    return found;
  }

  /** Takes records from the token's user's sight, as a narrower sharing rule does, or gives them back; no notification is sent. */
  setHidden(module: string, ids: readonly string[], isHidden: boolean): void {
    for (const id of ids) this.#organisation.store(module).setHidden(this.#organisation.record(module, id), isHidden);
  }

  /** The record as reads show it at a moment. */
  at(module: string, id: string, atMs: number): LiveRecord | undefined {
    const moments = this.#history.get(`${module}/${id}`);
    // What was made later is never hidden by what shows late.
    const record = moments === undefined ? this.truth(module, id) : moments.findLast(({ fromMs }) => fromMs <= atMs)?.record;
    return record === undefined || this.#organisation.store(module).isHidden(record.key) ? undefined : record;
  }

  /** All that reads show at a moment. */
  *allAt(module: string, atMs: number): Generator<LiveRecord> {
    for (const id of this.everKnown(module)) {
      const record = this.at(module, id, atMs);
      if (record !== undefined) yield record;
    }
  }

  /** Ids of all records there ever were, in order. */
  everKnown(module: string): string[] {
    return [...new Set([...this.ids(module), ...this.#deletionsOf(module).map(({ id }) => id)])].toSorted();
  }

  /** The deleted list at a moment, from a time on. */
  listedDeletions(module: string, sinceMs: number, atMs: number): DeletedRecord[] {
    const since = Math.floor(sinceMs / 1000) * 1000;
    return this.#deletionsOf(module)
      .filter((deletion) => deletion.deletedMs >= since && deletion.atMs <= atMs && deletion.restoredMs > atMs)
      .map(({ id, deletedMs }) => ({ id, deletedTime: new Date(deletedMs).toISOString() }));
  }

  #note(module: string, id: string, record: LiveRecord | undefined, before: LiveRecord | undefined, lateMs = 0): void {
    const moments = this.#history.get(`${module}/${id}`) ?? [{ fromMs: Number.NEGATIVE_INFINITY, record: before }];
    moments.push({ fromMs: this.#time.now() + lateMs, record });
    this.#history.set(`${module}/${id}`, moments);
  }

  #deletionsOf(module: string): Deletion[] {
    const known = this.#deletions.get(module) ?? [];
    this.#deletions.set(module, known);
    return known;
  }
}
