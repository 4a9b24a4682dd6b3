import type { Values } from '../comparison/mapped-columns.ts';

/** What a record was from one moment on, as the simulator's history has it; `record` is null once it is deleted. */
export type Version = { readonly seq: number; readonly module: string; readonly id: string; readonly operation: string; readonly modifiedTime: string; readonly movesTime: boolean; readonly record: Values | null };

/** What a claim asks of a row: the version it covers, and all those that the row may show meanwhile. */
export type Requirement = { readonly required: Version; readonly allowed: readonly Version[] };

/** The versions of each changed record, in order. */
export class History {
  readonly #versions = new Map<string, Map<string, Version[]>>();
  #seq = 0;

  /** The number after which to read on. */
  get seq(): number {
    return this.#seq;
  }

  /** @throws {Error} where a number is missing: the simulator has forgotten versions, and nothing could be said of their records. */
  add(versions: readonly Version[]): void {
    for (const version of versions) {
      if (version.seq !== this.#seq + 1) throw new Error(`the history goes on at ${version.seq} after ${this.#seq}`);
      this.#seq = version.seq;
      const records = this.#versions.get(version.module) ?? new Map<string, Version[]>();
      this.#versions.set(version.module, records);
      records.set(version.id, [...(records.get(version.id) ?? []), version]);
    }
  }

  /** The records of a module that have changed, each with its versions. */
  of(module: string): ReadonlyMap<string, readonly Version[]> {
    return this.#versions.get(module) ?? new Map();
  }
}

/**
 * What a claim up to `seenMs` (epoch ms) asks of one record: its latest version before then that moved `Modified_Time`, or any later one. Undefined where it asks
 * nothing: no such version, or a later deletion, before which the edit may never have been seen. Of a restored record it does not say which of the versions
 * since its deletion stands: it came back with its old time, and until it is settled a deletion and a look may be too close to tell. Where the deletion was
 * taken back before the list was read, the row may also stand as it did before; that is not known of a record whose first change is that deletion.
 */
export function requirementOf(versions: readonly Version[], seenMs: number): Requirement | undefined {
  const at = versions.findLastIndex(({ movesTime, modifiedTime }) => movesTime && Date.parse(modifiedTime) < seenMs);
  const required = versions[at];
  if (required === undefined || versions.slice(at + 1).some(({ record }) => record === null)) return undefined;
  if (required.record === null && at < versions.length - 1) {
    const before = requirementOf(versions.slice(0, at), seenMs);
    return before && { required, allowed: [...before.allowed, ...versions.slice(at)] };
  }
  const deletedAt = versions.slice(0, at).findLastIndex(({ record }) => record === null);
  return { required, allowed: versions.slice(deletedAt < 0 ? at : deletedAt) };
}
