import type { ModuleDefinition } from '@lockstep/modules';

import { type DataFault, MemoryTable, noRules, type TableRules } from './memory-table.ts';

/** What a trigger or another session's lock says of a row that is written; null where nothing is in its way. */
export type RowRefusal = (module: string, id: string) => DataFault | null;

/** The tables of the simulated modules, under one transaction. */
export class MemoryDatabase {
  readonly #tables: ReadonlyMap<string, MemoryTable>;
  /** How to take back what the running transaction did, in the order in which it was done. */
  readonly #undo: (() => void)[] = [];
  #depth = 0;

  constructor(modules: readonly ModuleDefinition[], rules: Readonly<Record<string, TableRules>>, epsilonMs: number, refusal?: RowRefusal) {
    const find = (module: string): MemoryTable | undefined => this.#tables.get(module);
    const note = (undo: () => void): void => void this.#undo.push(undo);
    this.#tables = new Map(modules.map((module) => [module.apiName, new MemoryTable({ module, rules: rules[module.apiName] ?? noRules, epsilonMs, find, note, ...(refusal && { refusal }) })]));
  }

  get tables(): Iterable<MemoryTable> {
    return this.#tables.values();
  }

  /** @throws {RangeError} for a module that is not simulated. */
  table(module: string): MemoryTable {
    const table = this.#tables.get(module);
    if (table === undefined) throw new RangeError(`there is no module ${module}`);
    return table;
  }

  /** All of the work, or, when it throws, nothing of it; one within another is a savepoint. */
  transaction<T>(work: () => T): T {
    const savepoint = this.#undo.length;
    this.#depth += 1;
    try {
      return work();
    } catch (error) {
      while (this.#undo.length > savepoint) this.#undo.pop()?.();
      throw error;
    } finally {
      this.#depth -= 1;
      if (this.#depth === 0) this.#undo.length = 0;
    }
  }
}
