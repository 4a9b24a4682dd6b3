import type { FoundRecord } from '@lockstep/crm-client';

/** The first id of a module's records; all have as many digits, so that they compare as texts do. */
const FIRST_ID = 5_000_000_000_000;

/** The records of one module that are edited at random, in the order of their edits, and which of the edits have been seen. */
export class EditedRecords {
  readonly #field: string;
  readonly count: number;
  readonly #startMs: number;
  /** Of each edit, when it was made and which record it is of. */
  readonly #editedMs: number[] = [];
  readonly #edited: number[] = [];
  readonly #lastEdit: Int32Array;
  readonly #unseen = new Map<number, number[]>();
  /** Called with how long an edit waited, milliseconds, once it is seen. */
  onSeen: (waitedMs: number, editedMs: number) => void = () => undefined;

  constructor({ field, count, startMs }: { field: string; count: number; startMs: number }) {
    this.#field = field;
    this.count = count;
    this.#startMs = startMs;
    this.#lastEdit = new Int32Array(count).fill(-1);
  }

  idOf(record: number): string {
    return String(FIRST_ID + record);
  }

  isRecord(id: string): boolean {
    return Number(id) >= FIRST_ID && Number(id) < FIRST_ID + this.count;
  }

  edit(record: number, atMs: number): void {
    this.#lastEdit[record] = this.#edited.push(record) - 1;
    this.#editedMs.push(atMs);
    const unseen = this.#unseen.get(record);
    if (unseen === undefined) this.#unseen.set(record, [atMs]);
    else unseen.push(atMs);
  }

  /** A look saw the record as it was last modified then. */
  seen(id: string, modifiedMs: number, atMs: number): void {
    const record = Number(id) - FIRST_ID;
    const unseen = this.#unseen.get(record);
    if (unseen === undefined) return;
    const later = unseen.filter((editedMs) => editedMs > modifiedMs);
    for (const editedMs of unseen) if (editedMs <= modifiedMs) this.onSeen(atMs - editedMs, editedMs);
    if (later.length === 0) this.#unseen.delete(record);
    else this.#unseen.set(record, later);
  }

  /** When the oldest edit was made that no look has seen; null where all were. */
  oldestUnseenMs(): number | null {
    let oldest = Number.POSITIVE_INFINITY;
    for (const [first = Number.POSITIVE_INFINITY] of this.#unseen.values()) oldest = Math.min(oldest, first);
    return Number.isFinite(oldest) ? oldest : null;
  }

  found(id: string): FoundRecord {
    const record = Number(id) - FIRST_ID;
    return { id, modifiedTime: new Date(this.#modifiedMs(record)).toISOString(), values: { [this.#field]: `edit ${this.#lastEdit[record]}` } };
  }

  /** Records in the order of their last edits, by (time, id), behind a place in that order. */
  changed(sinceMs: number, after: { readonly modifiedTime: string; readonly id: string } | null, limit: number): { readonly records: FoundRecord[]; readonly hasMore: boolean } {
    const fromMs = after === null ? sinceMs : Date.parse(after.modifiedTime);
    const records: FoundRecord[] = [];
    for (let at = this.#firstSince(fromMs); at < this.#edited.length; ) {
      const sameMs = this.#editedMs[at] as number;
      const ids: string[] = [];
      for (; this.#editedMs[at] === sameMs; at += 1) if (this.#lastEdit[this.#edited[at] as number] === at) ids.push(this.idOf(this.#edited[at] as number));
      for (const id of ids.toSorted()) {
        if (after !== null && sameMs === fromMs && id <= after.id) continue;
        if (records.length === limit) return { records, hasMore: true };
        records.push(this.found(id));
      }
    }
    return { records, hasMore: false };
  }

  /** Cells of all records changed since a time, in the order of their ids. */
  rows(sinceMs: number): string[][] {
    const rows: string[][] = [['Id', this.#field, 'Modified_Time']];
    for (let record = 0; record < this.count; record += 1) {
      const modifiedMs = this.#modifiedMs(record);
      if (modifiedMs >= sinceMs) rows.push([this.idOf(record), `edit ${this.#lastEdit[record]}`, new Date(modifiedMs).toISOString()]);
    }
    return rows;
  }

  #modifiedMs(record: number): number {
    const last = this.#lastEdit[record] as number;
    return last < 0 ? this.#startMs - 86_400_000 : (this.#editedMs[last] as number);
  }

  #firstSince(ms: number): number {
    let [low, high] = [0, this.#editedMs.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#editedMs[middle] as number) < ms) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
