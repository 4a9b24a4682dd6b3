import { slicer } from '../query/slices.ts';
import { matches } from '../query/condition.ts';
import { spanOf } from '../query/span.ts';
import { csvWriter, type CsvForm } from '../render/csv.ts';
import type { LiveRecord } from '../store/live-record.ts';
import type { ModuleStore } from '../store/module-store.ts';
import type { BulkQuery, PageStart } from './bulk-request.ts';
import { writeZip } from './zip-file.ts';

type Page = {
  readonly store: ModuleStore;
  readonly query: BulkQuery;
  readonly start: PageStart;
  readonly pageSize: number;
  readonly csv: CsvForm;
  readonly instant: (ms: number) => string;
  readonly file: string;
  /** Name of the CSV in the ZIP. */
  readonly entry: string;
  readonly signal: AbortSignal;
};

const CHUNK = 65_536;
/** A window of `Modified_Time` with fewer rows is collected and sorted by id; a wider one is found along the ids. */
const COLLECTABLE = 200_000;

/** Writes one page of a bulk read to disk, ordered by id. Aborting throws. */
export async function spoolPage(page: Page): Promise<{ count: number; lastKey: number; hasMore: boolean }> {
  const writer = csvWriter(page.query.fields, page.csv, page.instant);
  let [count, lastKey, hasMore] = [0, page.start.afterKey, false];
  async function* text(): AsyncGenerator<string> {
    const pause = slicer();
    let [chunk, skipped] = [writer.header, 0];
    for (const record of await candidates(page)) {
      await pause();
      if (page.store.isHidden(record.key) || !matches(page.query.where, record)) continue;
      if (skipped++ < page.start.skip) continue;
      if (count === page.pageSize) {
        hasMore = true;
        break;
      }
      chunk += writer.line(record);
      count++;
      lastKey = record.key;
      if (chunk.length < CHUNK) continue;
      page.signal.throwIfAborted();
      yield chunk;
      chunk = '';
    }
    yield chunk;
  }
  await writeZip(page.file, page.entry, text());
  return { count, lastKey, hasMore };
}

/** Records that may meet the criteria, ordered by id. Each is read when its turn comes, with the values it has then. */
async function candidates({ store, query, start }: Page): Promise<Iterable<LiveRecord>> {
  const modified = spanOf(query.where, 'Modified_Time');
  const isWindow = modified.from > -Infinity || modified.to < Infinity;
  const ids = spanOf(query.where, 'id');
  const from = Math.max(ids.from, start.afterKey + 1);
  if (!isWindow || store.countModified(modified) > COLLECTABLE) return store.byKey({ from, to: ids.to }, false);
  const keys: number[] = [];
  const pause = slicer();
  for (const record of store.byModified(modified, false)) {
    if (record.key >= from) keys.push(record.key);
    await pause();
  }
  return present(store, keys.toSorted((a, b) => a - b));
}

function* present(store: ModuleStore, keys: readonly number[]): Generator<LiveRecord> {
  for (const key of keys) {
    const record = store.get(key);
    if (record !== undefined) yield record;
  }
}
