import { coverageOf, type ModuleDefinition } from '@lockstep/modules';
import { type FieldValue, isAlive, type Register } from '@lockstep/record-log';

/** A record's register, and the content that stands in its row. */
export type MemoryRecord = Register & { readonly isHidden: boolean };

/** What a legacy table demands of its rows, beside the lengths in the mapping. */
export type TableRules = {
  /** Columns under a unique constraint that is not deferrable. */
  readonly unique: readonly { readonly field: string; readonly isNullable: boolean }[];
  /** Columns under a foreign key, and the module whose table they point to. */
  readonly references: readonly { readonly field: string; readonly to: string }[];
};

export const noRules: TableRules = { unique: [], references: [] };

/** What Postgres says of data that it refuses, under Postgres' own codes. */
export class DataFault extends Error {
  readonly code: '22001' | '23502' | '23503' | '23505' | '55P03' | 'P0001';

  constructor(message: string, code: DataFault['code']) {
    super(message);
    this.name = 'DataFault';
    this.code = code;
  }
}

type MemoryTableDeps = {
  readonly module: ModuleDefinition;
  readonly rules: TableRules;
  readonly epsilonMs: number;
  /** The table of another module; undefined where that is not simulated, and then nothing is checked. */
  readonly find: (module: string) => MemoryTable | undefined;
  /** What a trigger or another session's lock says of a row; null where nothing is in its way. */
  readonly refusal?: (module: string, id: string) => DataFault | null;
  /** Receives how to take a change back. */
  readonly note: (undo: () => void) => void;
};

type Rule = { readonly field: string; readonly at: number };
const none: ReadonlySet<string> = new Set();

/** Register and legacy table of one module: a row stands where the register says so, and obeys the table's constraints. */
export class MemoryTable {
  readonly module: ModuleDefinition;
  readonly #deps: MemoryTableDeps;
  readonly #records = new Map<string, MemoryRecord>();
  /** Fields by the id of the coverage that names them, as far as the log has declared them. */
  readonly coverages = new Map<string, readonly string[]>();
  readonly #keepsDeleted: boolean;
  readonly #unique: readonly (Rule & { readonly isNullable: boolean })[];
  readonly #references: readonly (Rule & { readonly to: string })[];
  readonly #longest: readonly (Rule & { readonly length: number })[];
  /** Ids of rows by the value of a column that is unique, or points to another row. */
  readonly #rowsBy = new Map<string, Set<string>>();

  constructor(deps: MemoryTableDeps) {
    const { module, rules } = deps;
    const { fields } = coverageOf(module);
    const placed = <T extends { readonly field: string }>(list: readonly T[]): (T & Rule)[] => list.map((rule) => ({ ...rule, at: fields.indexOf(rule.field) }));
    this.#deps = deps;
    this.module = module;
    this.#keepsDeleted = module.onDelete.action === 'mark';
    this.#unique = placed(rules.unique);
    this.#references = placed(rules.references);
    this.#longest = placed(module.fields.flatMap(({ field, type }) => (type.startsWith('varchar') ? [{ field, length: Number(/\d+/.exec(type)?.[0]) }] : [])));
  }

  get epsilonMs(): number {
    return this.#deps.epsilonMs;
  }

  get records(): ReadonlyMap<string, MemoryRecord> {
    return this.#records;
  }

  isAlive(record: MemoryRecord): boolean {
    return isAlive(record, this.#deps.epsilonMs);
  }

  /** Whether the record has a row; a marked one is one. */
  hasRow(record: MemoryRecord | undefined): boolean {
    return record?.content !== undefined && (this.#keepsDeleted || this.isAlive(record));
  }

  /** Notes the register of a record, and with it what stands in its row. */
  put(id: string, record: MemoryRecord): void {
    const former = this.#records.get(id);
    this.#index(id, former, record);
    this.#records.set(id, record);
    this.#deps.note(() => {
      this.#index(id, record, former);
      if (former === undefined) this.#records.delete(id);
      else this.#records.set(id, former);
    });
  }

  /**
   * Checks what Postgres checks while it writes the row.
   * @param released rows whose nullable unique values are in no one's way.
   * @throws {DataFault}
   */
  checkRow(id: string, released: ReadonlySet<string> = none): void {
    const fields = this.#rowOf(id);
    if (fields === undefined) return;
    const refusal = this.#deps.refusal?.(this.module.apiName, id) ?? null;
    if (refusal !== null) throw refusal;
    for (const { field, at, length } of this.#longest) if (String(fields[at] ?? '').length > length) throw new DataFault(`${field} is too long`, '22001');
    for (const { field, at, isNullable } of this.#unique) {
      const value = fields[at] ?? null;
      if (value === null && !isNullable) throw new DataFault(`${field} may not be empty`, '23502');
      const others = value === null ? [] : [...this.#rows(field, value)].filter((other) => other !== id && !(isNullable && released.has(other)));
      if (others.length > 0) throw new DataFault(`${field} is taken`, '23505');
    }
  }

  /** Checks what Postgres checks at the end of the statement: that the rows it points to stand. @throws {DataFault} */
  checkReferences(id: string): void {
    const fields = this.#rowOf(id);
    for (const { field, at, to } of fields === undefined ? [] : this.#references) {
      const target = fields?.[at];
      const table = this.#deps.find(to);
      if (typeof target === 'string' && table !== undefined && !table.hasRow(table.records.get(target))) throw new DataFault(`${field} points to no row`, '23503');
    }
  }

  /** Whether a lookup of this module names records of another. */
  refersTo(module: string): boolean {
    return this.#references.some(({ to }) => to === module);
  }

  /** Rows that point to a record of another module. */
  pointingTo(module: string, id: string): string[] {
    return [...new Set(this.#references.filter(({ to }) => to === module).flatMap(({ field }) => [...this.#rows(field, id)]))];
  }

  #rowOf(id: string): readonly FieldValue[] | undefined {
    const record = this.#records.get(id);
    return this.hasRow(record) ? record?.content?.fields : undefined;
  }

  #rows(field: string, value: FieldValue): ReadonlySet<string> {
    return this.#rowsBy.get(`${field}=${value}`) ?? none;
  }

  #index(id: string, former: MemoryRecord | undefined, record: MemoryRecord | undefined): void {
    for (const { field, at } of [...this.#unique, ...this.#references]) {
      const before = this.hasRow(former) ? former?.content?.fields[at] : undefined;
      const after = this.hasRow(record) ? record?.content?.fields[at] : undefined;
      if (typeof before === 'string') this.#rowsBy.get(`${field}=${before}`)?.delete(id);
      if (typeof after === 'string') this.#rowsBy.set(`${field}=${after}`, new Set([...this.#rows(field, after), id]));
    }
  }
}
