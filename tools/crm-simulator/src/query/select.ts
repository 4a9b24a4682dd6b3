import type { FieldSpec } from '../catalogue/field-spec.ts';
import type { LiveRecord } from '../store/live-record.ts';
import type { ModuleStore } from '../store/module-store.ts';
import { comparable, type Comparable, type Condition, matches } from './condition.ts';
import { slicer } from './slices.ts';
import { keysOf, spanOf } from './span.ts';

/** One `order by` term. */
export type Order = { readonly field: FieldSpec; readonly descending: boolean };

/** What is asked of one module. */
export type Selection = { readonly where: Condition; readonly order: readonly Order[]; readonly offset: number; readonly limit: number };

/**
 * Answers a selection. Ids and windows of `Modified_Time` cost what they hold; anything else reads the whole module, in
 * slices.
 */
export async function select(store: ModuleStore, selection: Selection, nowMs: number): Promise<{ records: LiveRecord[]; hasMore: boolean }> {
  const isByKeys = keysOf(selection.where) !== undefined;
  const { source, isOrdered } = plan(store, selection, nowMs);
  const end = selection.offset + selection.limit;
  const pause = slicer();
  let found: LiveRecord[] = [];
  for (const record of source) {
    await pause();
    if (store.hides(record, nowMs)) continue;
    if (!matches(selection.where, record)) continue;
    found.push(record);
    if (isOrdered && found.length > end) break;
  }
  const late = isByKeys ? [] : laggingOf(store, selection.where, found, nowMs);
  if (!isOrdered || late.length > 0) found = sorted([...found, ...late], selection.order);
  return { records: found.slice(selection.offset, end), hasMore: found.length > end };
}

function plan(store: ModuleStore, { where, order, offset, limit }: Selection, nowMs: number): { source: Iterable<LiveRecord>; isOrdered: boolean } {
  const [first, second] = order;
  const keys = keysOf(where);
  if (keys !== undefined) return { source: existing(store, keys, nowMs), isOrdered: false };
  const modified = spanOf(where, 'Modified_Time');
  if (first?.field.apiName === 'Modified_Time') {
    const isOrdered = second === undefined || (second.field.kind === 'id' && !second.descending);
    return { source: store.byModified(modified, first.descending), isOrdered };
  }
  const byId = first === undefined || first.field.kind === 'id';
  const rows = store.countModified(modified);
  // Along the ids, reading ends once the page is full: after so many records, if the window's are spread evenly.
  const rowsById = byId ? ((offset + limit) * store.total) / rows : store.total;
  if (rows < rowsById) return { source: store.byModified(modified, false), isOrdered: false };
  return { source: store.byKey(spanOf(where, 'id'), first?.descending ?? false), isOrdered: byId };
}

/** What a lagging index still has at its old place, and the search along the present ones has not found. */
function laggingOf(store: ModuleStore, where: Condition, found: readonly LiveRecord[], nowMs: number): LiveRecord[] {
  const lagging = [...store.lagging(nowMs)].filter((record) => matches(where, record));
  if (lagging.length === 0) return [];
  const keys = new Set(found.map(({ key }) => key));
  return lagging.filter(({ key }) => !keys.has(key));
}

function* existing(store: ModuleStore, keys: readonly number[], nowMs: number): Generator<LiveRecord> {
  for (const key of new Set(keys)) {
    const record = store.shown(key, nowMs);
    if (record !== undefined) yield record;
  }
}

function sorted(records: readonly LiveRecord[], order: readonly Order[]): LiveRecord[] {
  const rows = records.map((record) => ({ record, values: order.map((term) => comparable(record, term.field)) }));
  return rows
    .toSorted((a, b) => {
      for (let at = 0; at < order.length; at++) {
        const sign = compare(a.values[at] ?? null, b.values[at] ?? null);
        if (sign !== 0) return order[at]?.descending === true ? -sign : sign;
      }
      return a.record.key - b.record.key;
    })
    .map((row) => row.record);
}

function compare(a: Comparable | null, b: Comparable | null): number {
  if (a === b) return 0;
  if (a === null) return -1;
  return b === null || a > b ? 1 : -1;
}
