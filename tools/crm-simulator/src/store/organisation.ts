import { catalogue, type ModuleSpec } from '../catalogue/catalogue.ts';
import type { FieldSpec, Lookup, Value } from '../catalogue/field-spec.ts';
import { currentUser } from '../catalogue/pools.ts';
import type { Clock } from '../clock.ts';
import { AdminError } from '../errors.ts';
import { wholeSecond } from '../instants.ts';
import { keyOf } from '../record-ids.ts';
import { asLookup, fieldValues } from './field-values.ts';
import type { LiveRecord } from './live-record.ts';
import { type Deleted, ModuleStore } from './module-store.ts';

/** What happened to records of one module at one moment; the notifications are derived from it. */
export type Change = {
  readonly module: ModuleSpec;
  readonly operation: 'insert' | 'update' | 'delete';
  readonly ids: readonly string[];
  /** Names of the fields an update set; the same for every id. */
  readonly values: ReadonlyMap<string, Value>;
  /** The records as they are after it, in the order of the ids; none after a deletion. */
  readonly records: readonly LiveRecord[];
  /** Epoch ms, whole seconds: `Modified_Time`, or the time of the deletion. */
  readonly changedMs: number;
  /** Whether `Modified_Time` moved to now: not by a formula, for a restored record, or by an import that gives a time of its own. */
  readonly movesTime: boolean;
  /** Whether no channel is notified. */
  readonly isSilent: boolean;
};

/**
 * How an edit is made: a silent one is not notified, as imports may be; one that keeps the time is what a formula does, and is not
 * notified either. An import may give its own `Modified_Time`, even one that is yet to come.
 */
export type EditManner = { readonly isSilent?: boolean; readonly keepsTime?: boolean; readonly modifiedMs?: number };

type JsonFields = Readonly<Record<string, unknown>>;

/** All records of the organisation. Every write goes through here, by whichever caller, and is passed to the listeners. */
export class Organisation {
  readonly #clock: Clock;
  readonly #stores = new Map<string, ModuleStore>();
  readonly #listeners: ((change: Change) => void)[] = [];
  readonly #staleMs: () => number;

  /** @param staleMs how long reads still show what was before a change. */
  constructor(clock: Clock, seed: number, records: Readonly<Record<string, number>>, staleMs: () => number = () => 0) {
    this.#clock = clock;
    this.#staleMs = staleMs;
    for (const module of catalogue) this.#stores.set(module.apiName, new ModuleStore(module, records[module.apiName] ?? 0, seed));
  }

  get stores(): readonly ModuleStore[] {
    return [...this.#stores.values()];
  }

  /** @returns the records of a module, undefined for an unknown one. */
  find(moduleName: string): ModuleStore | undefined {
    return this.#stores.get(moduleName);
  }

  /** @throws {AdminError} `UNKNOWN_MODULE`. */
  store(moduleName: string): ModuleStore {
    const store = this.#stores.get(moduleName);
    if (store === undefined) throw new AdminError(404, 'UNKNOWN_MODULE', `there is no module ${moduleName}`);
    return store;
  }

  /** @throws {AdminError} `UNKNOWN_MODULE` or `UNKNOWN_RECORD`. */
  record(moduleName: string, id: string): LiveRecord {
    const key = keyOf(id);
    const record = key === undefined ? undefined : this.store(moduleName).get(key);
    if (record === undefined) throw new AdminError(404, 'UNKNOWN_RECORD', `${this.store(moduleName).module.apiName} has no live record ${id}`);
    return record;
  }

  onChange(listener: (change: Change) => void): void {
    this.#listeners.push(listener);
  }

  /** Sets fields of some records of a module at one moment. @throws {AdminError} */
  edit(moduleName: string, ids: readonly string[], fields: JsonFields, { isSilent = false, keepsTime = false, modifiedMs }: EditManner = {}): LiveRecord[] {
    const store = this.store(moduleName);
    const values = fieldValues(store.module, fields, this.#find);
    const records = ids.map((id) => this.record(moduleName, id));
    const changedMs = wholeSecond(this.#clock.nowMs());
    const all = new Map<string, Value>(keepsTime ? values : [...values, ['Modified_By', currentUser]]);
    if (!keepsTime && store.module.byName.has('Last_Activity_Time')) all.set('Last_Activity_Time', changedMs);
    for (const record of records) this.#keepStale(store, record.key, record);
    const edited = records.map((record) => store.edit(record, all, keepsTime ? record.modifiedMs : (modifiedMs ?? changedMs)));
    this.#notify({ module: store.module, operation: 'update', ids, values, records: edited, changedMs: modifiedMs ?? changedMs, movesTime: !keepsTime && modifiedMs === undefined, isSilent: isSilent || keepsTime });
    return edited;
  }

  /** Creates a record. @param generated whether the fields not given are made up. @throws {AdminError} */
  create(moduleName: string, fields: JsonFields, generated = false): LiveRecord {
    const store = this.store(moduleName);
    const values = fieldValues(store.module, fields, this.#find);
    const changedMs = wholeSecond(this.#clock.nowMs());
    const all = new Map<string, Value>([['Owner', currentUser], ...values, ['Created_By', currentUser], ['Modified_By', currentUser]]);
    const record = store.create(all, changedMs, generated);
    this.#keepStale(store, record.key, undefined);
    this.#notify({ module: store.module, operation: 'insert', ids: [record.id], values, records: [record], changedMs, movesTime: true, isSilent: false });
    return record;
  }

  /** Moves a record to the recycle bin, or removes it for good. @throws {AdminError} */
  delete(moduleName: string, id: string, type: Deleted['type'] = 'recycle'): Deleted {
    const store = this.store(moduleName);
    const record = this.record(moduleName, id);
    this.#keepStale(store, record.key, record);
    const deleted = store.delete(record, wholeSecond(this.#clock.nowMs()), type, currentUser);
    this.#notify({ module: store.module, operation: 'delete', ids: [id], values: new Map(), records: [], changedMs: deleted.deletedMs, movesTime: true, isSilent: false });
    return deleted;
  }

  /**
   * Takes a record out of the recycle bin. It keeps its id and its old `Modified_Time`; whether it is notified is not documented.
   * @throws {AdminError} `UNKNOWN_RECORD` for one that is not in the bin.
   */
  restore(moduleName: string, id: string, isSilent: boolean): LiveRecord {
    const store = this.store(moduleName);
    const record = store.restore(keyOf(id) ?? -1);
    if (record === undefined) throw new AdminError(404, 'UNKNOWN_RECORD', `${moduleName} ${id} is not in the recycle bin`);
    this.#notify({ module: store.module, operation: 'update', ids: [id], values: new Map(), records: [record], changedMs: record.modifiedMs, movesTime: false, isSilent });
    return record;
  }

  /**
   * Merges a record into another one of its module: it is deleted, and whatever pointed to it points to the other.
   * @param movesReferrers whether that counts as an edit of those; it need not, and then they keep their `Modified_Time`.
   * @throws {AdminError}
   */
  merge(moduleName: string, loserId: string, masterId: string, movesReferrers: boolean): Deleted {
    const [loser, master] = [this.record(moduleName, loserId), this.record(moduleName, masterId)];
    if (loser.key === master.key) throw new AdminError(400, 'WRONG_REQUEST', 'a record cannot be merged into itself');
    for (const store of this.stores) for (const field of store.module.fields.filter(({ lookupModule }) => lookupModule === moduleName)) this.#point(store, field, loser, master, movesReferrers);
    this.edit(moduleName, [masterId], {});
    return this.delete(moduleName, loserId);
  }

  /** Lets the lookups of a module that point to one record point to another. Only what was edited can point to a record of the organisation. */
  #point(store: ModuleStore, field: FieldSpec, from: LiveRecord, to: LiveRecord, movesReferrers: boolean): void {
    const referrers = [...store.edited()].filter((record) => (record.get(field) as Lookup | null)?.id === from.id);
    if (referrers.length > 0) this.edit(store.module.apiName, referrers.map(({ id }) => id), { [field.apiName]: asLookup(to) }, { keepsTime: !movesReferrers });
  }

  readonly #find = (moduleName: string, id: string): LiveRecord | undefined => this.find(moduleName)?.get(keyOf(id) ?? -1);

  #keepStale(store: ModuleStore, key: number, record: LiveRecord | undefined): void {
    const staleMs = this.#staleMs();
    const nowMs = this.#clock.nowMs();
    if (staleMs > 0) store.keepStale(key, record, nowMs, nowMs + staleMs);
  }

  #notify(change: Change): void {
    for (const listener of this.#listeners) listener(change);
  }
}
