import { foldMessages, type LoggedMessage } from './fold-messages.ts';
import type { MemoryDatabase } from './memory-database.ts';
import { DataFault, type MemoryRecord, type MemoryTable } from './memory-table.ts';

/** A record that a fold changes. `isWritten`: its content is new and stands in a row. */
type Change = { readonly id: string; readonly after: MemoryRecord; readonly isWritten: boolean };

/** Writes records that changed: the rows that are written, then those that go; each is checked as Postgres checks it. @throws {DataFault} */
export function writeTogether(database: MemoryDatabase, table: MemoryTable, changed: ReadonlyMap<string, MemoryRecord>): void {
  const changes = changesOf(table, changed);
  const written = changes.filter(({ isWritten }) => isWritten);
  for (const { id, after } of written) {
    table.put(id, after);
    table.checkRow(id);
  }
  for (const { id } of written) table.checkReferences(id);
  for (const change of changes) if (!change.isWritten) replace(database, table, change);
}

type Waiting = { readonly id: string; readonly message: LoggedMessage };

/**
 * Writes of what waits as much as fits together: unique values that may be empty are released first, so that rows may swap them.
 * What does not fit is left out, and the rest is tried without it. Where all that waits of a record does not fit, a part may.
 * @returns what is wrong with the rest.
 */
export function writeWhatFits<T extends Waiting>(database: MemoryDatabase, table: MemoryTable, waiting: readonly T[]): ReadonlyMap<T, DataFault> {
  const faults = new Map<T, DataFault>();
  const failed = writeTogetherWhatFits(database, table, waiting);
  for (const parts of Map.groupBy(waiting, ({ id }) => id).values()) {
    for (const one of parts) {
      const fault = failed.get(one.id) ?? null;
      const ownFault = fault === null || parts.length === 1 ? fault : (writeTogetherWhatFits(database, table, [one]).get(one.id) ?? null);
      if (ownFault !== null) faults.set(one, ownFault);
    }
  }
  return faults;
}

/** @returns what is wrong with what does not fit, by record. */
function writeTogetherWhatFits(database: MemoryDatabase, table: MemoryTable, waiting: readonly Waiting[]): ReadonlyMap<string, DataFault> {
  const faults = new Map<string, DataFault>();
  for (let isTried = false; !isTried; ) {
    const trying = waiting.filter(({ id }) => !faults.has(id));
    const failed = attempt(database, table, foldMessages(table, trying.map(({ message }) => message)).changed);
    for (const [id, fault] of failed) faults.set(id, fault);
    isTried = failed.size === 0;
  }
  return faults;
}

/** @returns what failed; then nothing was written. */
function attempt(database: MemoryDatabase, table: MemoryTable, changed: ReadonlyMap<string, MemoryRecord>): ReadonlyMap<string, DataFault> {
  const failed = new Map<string, DataFault>();
  const guarded = (id: string, part: () => void): void => {
    const fault = faultOf(() => database.transaction(part));
    if (fault !== null) failed.set(id, fault);
  };
  const whole = faultOf(() =>
    database.transaction(() => {
      const changes = changesOf(table, changed);
      for (const change of changes) if (!change.isWritten) guarded(change.id, () => replace(database, table, change));
      for (const [id, fault] of writeInSomeOrder(database, table, changes.filter(({ isWritten }) => isWritten))) failed.set(id, fault);
      const [first] = failed.values();
      if (first !== undefined) throw first;
    }),
  );
  return whole === null ? new Map() : failed;
}

/**
 * Writes rows, each while the values of those still to come are released. A value that may not be empty is free only once its holder is
 * written, so what fails is tried again for as long as others are written. @returns what is wrong with the rest.
 */
function writeInSomeOrder(database: MemoryDatabase, table: MemoryTable, changes: readonly Change[]): ReadonlyMap<string, DataFault> {
  const left = new Map(changes.map((change) => [change.id, change]));
  for (;;) {
    const faults = new Map<string, DataFault>();
    for (const change of changes) {
      const { id, after } = change;
      left.delete(id);
      const fault = faultOf(() =>
        database.transaction(() => {
          table.put(id, after);
          table.checkRow(id, new Set(left.keys()));
          table.checkReferences(id);
        }),
      );
      if (fault === null) continue;
      faults.set(id, fault);
      left.set(id, change);
    }
    if (faults.size === 0 || faults.size === changes.length) return faults;
    changes = [...left.values()];
  }
}

const changesOf = (table: MemoryTable, changed: ReadonlyMap<string, MemoryRecord>): Change[] =>
  [...changed].map(([id, after]) => ({ id, after, isWritten: after.content !== table.records.get(id)?.content && table.hasRow(after) }));

/** Notes a register whose content is not written; where its row has to go, no other row may point to it. @throws {DataFault} */
function replace(database: MemoryDatabase, table: MemoryTable, { id, after }: Change): void {
  const hadRow = table.hasRow(table.records.get(id));
  table.put(id, after);
  if (!hadRow || table.hasRow(after)) return;
  for (const other of database.tables) if (other.pointingTo(table.module.apiName, id).length > 0) throw new DataFault('other rows point to it', '23503');
}

function faultOf(part: () => void): DataFault | null {
  try {
    part();
    return null;
  } catch (error) {
    if (error instanceof DataFault) return error;
    throw error;
  }
}
