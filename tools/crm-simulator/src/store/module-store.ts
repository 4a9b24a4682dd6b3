import type { ModuleSpec } from '../catalogue/catalogue.ts';
import type { Lookup, Value } from '../catalogue/field-spec.ts';
import { hashText, mix2 } from '../random.ts';
import { createdKey, seededIndex, seededIndexFrom, seededKey } from '../record-ids.ts';
import { LiveRecord, type Overlay, recordHash } from './live-record.ts';
import { ModifiedIndex } from './modified-index.ts';
import { groupCount, groupFrom, groupIndexes, groupMs, seededCreatedMs, seededModifiedMs } from './seeded-times.ts';

/** A record that is gone: what the deleted list says about it. */
export type Deleted = { readonly key: number; readonly deletedMs: number; type: 'recycle' | 'permanent'; readonly displayName: string | null; readonly createdBy: Lookup; readonly deletedBy: Lookup };

type Span = { readonly from: number; readonly to: number };

/** The records of one module: those of the seed, which cost no memory, and what was done to them. */
export class ModuleStore {
  readonly module: ModuleSpec;
  /** Number of seeded records. */
  readonly seeded: number;
  readonly #seed: number;
  readonly #overlays = new Map<number, Overlay>();
  readonly #created: number[] = [];
  readonly #deleted = new Map<number, Deleted>();
  readonly #modified = new ModifiedIndex();
  readonly #hidden = new Set<number>();
  readonly #stale = new Map<number, { readonly record: LiveRecord | undefined; readonly untilMs: number }>();

  constructor(module: ModuleSpec, seeded: number, seed: number) {
    this.module = module;
    this.seeded = seeded;
    this.#seed = mix2(seed, hashText(module.apiName));
  }

  get liveCount(): number {
    return this.seeded + this.#created.length - this.#deleted.size;
  }

  /** Live records that the calling user can see. */
  get visibleCount(): number {
    return this.liveCount - [...this.#hidden].filter((key) => !this.#deleted.has(key)).length;
  }

  /** Every record that was created or seeded, deleted ones included; `at` runs over them in the order of their ids. */
  get total(): number {
    return this.seeded + this.#created.length;
  }

  /** The record at a position of the id order, unless it is deleted. */
  at(position: number): LiveRecord | undefined {
    const key = this.#keyAt(position);
    return key === undefined ? undefined : this.get(key);
  }

  /** @returns the live record, or undefined. */
  get(key: number): LiveRecord | undefined {
    return this.#deleted.has(key) ? undefined : this.#any(key);
  }

  /** Sets values and moves `Modified_Time`; `null` empties a field. */
  edit(record: LiveRecord, values: ReadonlyMap<string, Value>, modifiedMs: number): LiveRecord {
    const { key, index } = record;
    const old = this.#overlays.get(key) ?? { modifiedMs: record.modifiedMs, createdMs: null, index, generated: true, values: [] };
    this.#overlays.set(key, { ...old, modifiedMs, values: new Map([...old.values, ...values]) });
    this.#modified.remove(old.modifiedMs, key);
    this.#modified.add(modifiedMs, key);
    return this.#any(record.key) as LiveRecord;
  }

  /** @param generated whether fields that are not given are made up or stay empty. */
  create(values: ReadonlyMap<string, Value>, createdMs: number, generated: boolean): LiveRecord {
    const index = this.seeded + this.#created.length;
    const key = createdKey(this.module.keyBase, this.#created.length);
    this.#overlays.set(key, { modifiedMs: createdMs, createdMs, index, generated, values: new Map(values) });
    this.#created.push(key);
    this.#modified.add(createdMs, key);
    return this.#any(key) as LiveRecord;
  }

  delete(record: LiveRecord, deletedMs: number, type: Deleted['type'], deletedBy: Lookup): Deleted {
    const createdBy = record.value('Created_By') as Lookup;
    const deleted: Deleted = { key: record.key, deletedMs, type, displayName: record.displayName, createdBy, deletedBy };
    this.#modified.remove(record.modifiedMs, record.key);
    this.#deleted.set(record.key, deleted);
    return deleted;
  }

  /** Takes a record out of the recycle bin, as it was. @returns undefined when it is not there. */
  restore(key: number): LiveRecord | undefined {
    if (this.#deleted.get(key)?.type !== 'recycle') return undefined;
    this.#deleted.delete(key);
    const record = this.#any(key) as LiveRecord;
    if (this.#overlays.has(key)) this.#modified.add(record.modifiedMs, key);
    return record;
  }

  /** Reads by id or by window show this instead until then; undefined: nothing. */
  keepStale(key: number, record: LiveRecord | undefined, nowMs: number, untilMs: number): void {
    // What was shown first is shown on: a second change must not make the first one visible.
    const shown = this.#stale.get(key);
    this.#stale.set(key, { record: shown !== undefined && nowMs < shown.untilMs ? shown.record : record, untilMs });
  }

  /** Takes a record from the calling user's sight, as a narrower sharing rule does, or gives it back. */
  setHidden(record: LiveRecord, isHidden: boolean): void {
    if (isHidden) this.#hidden.add(record.key);
    else this.#hidden.delete(record.key);
  }

  isHidden(key: number): boolean {
    return this.#hidden.has(key);
  }

  /** Whether reads do not show this version of a record: it is hidden, or not visible yet, so that it is not found at its place either. */
  hides(record: LiveRecord, nowMs: number): boolean {
    if (this.#hidden.has(record.key)) return true;
    return this.#stale.has(record.key) && this.shown(record.key, nowMs)?.modifiedMs !== record.modifiedMs;
  }

  /** What a read shows now: the record as it stands, or as it stood a moment ago. */
  shown(key: number, nowMs: number): LiveRecord | undefined {
    const stale = this.#stale.get(key);
    if (stale === undefined) return this.get(key);
    if (nowMs < stale.untilMs) return stale.record;
    this.#stale.delete(key);
    return this.get(key);
  }

  /** What reads still show of records that have changed or gone meanwhile: found where it was, not where the record is now. */
  *lagging(nowMs: number): Generator<LiveRecord> {
    for (const [key, { record, untilMs }] of this.#stale) {
      if (nowMs >= untilMs) this.#stale.delete(key);
      else if (record !== undefined && !this.#hidden.has(key) && this.get(key)?.modifiedMs !== record.modifiedMs) yield record;
    }
  }

  /** Live records that were edited or created since the start. */
  *edited(): Generator<LiveRecord> {
    for (const key of this.#overlays.keys()) {
      const record = this.get(key);
      if (record !== undefined) yield record;
    }
  }

  /** What was deleted, the earliest first. */
  deleted(): IterableIterator<Deleted> {
    return this.#deleted.values();
  }

  /** Live records by id, of the keys in [from, to]. Records may change while the caller takes them one by one. */
  *byKey(span: Span, descending: boolean): Generator<LiveRecord> {
    const start = this.#positionFrom(span.from);
    if (!descending) {
      for (let at = start, key = this.#keyAt(at); key !== undefined && key <= span.to; key = this.#keyAt(++at)) {
        const record = this.get(key);
        if (record !== undefined) yield record;
      }
      return;
    }
    for (let at = this.#positionFrom(span.to + 1) - 1; at >= start; at--) {
      const record = this.at(at);
      if (record !== undefined) yield record;
    }
  }

  /** About how many records were last changed in [from, to]. */
  countModified(span: Span): number {
    const groups = Math.min(groupFrom(span.to + 1), groupCount(this.seeded)) - groupFrom(span.from);
    return Math.max(0, groups) * 4 + this.#modified.count(span.from, span.to);
  }

  /**
   * Live records last changed in [from, to] by time; the ids of one second always ascend. Records may change while the caller
   * takes them one by one: each comes as it stands then, at the place of that version, so one that changes after its turn
   * comes again (backwards not: its new place has been passed).
   */
  *byModified(span: Span, descending: boolean): Generator<LiveRecord> {
    const groups = this.#seededGroups(span, descending);
    const edited = (past: number) => (descending ? this.#modified.lastBefore(past, span.from) : this.#modified.firstAfter(past, span.to));
    let seeded = groups.next();
    for (let past = descending ? span.to + 1 : span.from - 1; ; ) {
      const [seededMs, seededKeys] = seeded.done === true ? [undefined, []] : seeded.value;
      const editedMs = edited(past);
      const times = [seededMs, editedMs].filter((ms) => ms !== undefined);
      if (times.length === 0) return;
      const ms = descending ? Math.max(...times) : Math.min(...times);
      const keys = ms === editedMs ? this.#modified.keys(ms) : [];
      for (const key of ms === seededMs ? [...seededKeys, ...keys].toSorted((a, b) => a - b) : keys) {
        const record = this.get(key);
        if (record?.modifiedMs === ms) yield record;
      }
      if (ms === seededMs) seeded = groups.next();
      past = ms;
    }
  }

  *#seededGroups(span: Span, descending: boolean): Generator<readonly [number, readonly number[]]> {
    const first = groupFrom(span.from);
    const last = Math.min(groupFrom(span.to + 1), groupCount(this.seeded)) - 1;
    for (let at = 0; at <= last - first; at++) {
      const group = descending ? last - at : first + at;
      const keys = groupIndexes(this.#seed, group, this.seeded).map((index) => seededKey(this.module.keyBase, index));
      yield [groupMs(group), keys.filter((key) => !this.#overlays.has(key))];
    }
  }

  #any(key: number): LiveRecord | undefined {
    const overlay = this.#overlays.get(key);
    const index = overlay?.index ?? seededIndex(this.module.keyBase, key, this.seeded);
    if (index === undefined) return undefined;
    const bornMs = overlay?.createdMs ?? seededModifiedMs(this.#seed, index);
    const createdMs = overlay?.createdMs ?? seededCreatedMs(this.#seed, index);
    return new LiveRecord(this.module, recordHash(this.#seed, index), key, index, { createdMs, bornMs, modifiedMs: overlay?.modifiedMs ?? bornMs }, overlay);
  }

  #keyAt(position: number): number | undefined {
    return position < this.seeded ? seededKey(this.module.keyBase, position) : this.#created[position - this.seeded];
  }

  /** Position of the first key that is not below this one. */
  #positionFrom(key: number): number {
    const seeded = Math.min(seededIndexFrom(this.module.keyBase, key), this.seeded);
    if (seeded < this.seeded) return seeded;
    const first = this.#created[0];
    const step = createdKey(0, 1) - createdKey(0, 0);
    return first === undefined || key <= first ? this.seeded : this.seeded + Math.min(this.#created.length, Math.ceil((key - first) / step));
  }
}
