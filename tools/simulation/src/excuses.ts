import { isLengthExceeded, tableRules } from './modules.ts';
import type { World } from './world.ts';

/** Modules and records that the CRM refuses to give out; nothing is promised about them, nor about what points to them. */
export type Blocked = { readonly modules: ReadonlySet<string>; readonly records: ReadonlySet<string> };
export const nothingBlocked: Blocked = { modules: new Set(), records: new Set() };

/**
 * Whether a record may differ from the CRM in the end: it is parked, and what it conflicts with is still there. A value may
 * never fit; a row may have to wait for another one that has an excuse itself, or that is only marked as deleted.
 */
export class Excuses {
  readonly #world: World;
  readonly #blocked: Blocked;
  readonly #parked: ReadonlySet<string>;

  constructor(world: World, blocked: Blocked) {
    this.#world = world;
    this.#blocked = blocked;
    this.#parked = parkedRecords(world);
  }

  isExcused(module: string, id: string, asked: ReadonlySet<string> = new Set()): boolean {
    const key = `${module}/${id}`;
    if (asked.has(key)) return false;
    if (this.#blocked.modules.has(module) || this.#blocked.records.has(key)) return true;
    return this.#parked.has(key) && this.#isInConflict(module, id, new Set([...asked, key]));
  }

  #isInConflict(module: string, id: string, asked: ReadonlySet<string>): boolean {
    const { crm, tables } = this.#world;
    const truth = crm.records.truth(module, id);
    if (truth === undefined) return this.#pointingTo(module, id).some(([other, one]) => crm.records.truth(other, one) === undefined || this.isExcused(other, one, asked));
    if (isLengthExceeded(module, (field) => truth.value(field))) return true;
    const { references = [], unique = [] } = tableRules[module] ?? {};
    const waitsForRow = references.some(({ field, to }) => {
      const target = textOf(truth.value(field));
      return target !== null && !tables.hasRow(to, target) && this.isExcused(to, target, asked);
    });
    return waitsForRow || unique.some(({ field }) => this.#holders(module, field, textOf(truth.value(field))).some((other) => other !== id && this.isExcused(module, other, asked)));
  }

  #pointingTo(module: string, id: string): (readonly [module: string, id: string])[] {
    return Object.entries(tableRules).flatMap(([other, { references }]) => references.filter(({ to }) => to === module).flatMap(({ field }) => this.#holders(other, field, id).map((one) => [other, one] as const)));
  }

  /** Rows that hold a value. */
  #holders(module: string, field: string, value: string | null): string[] {
    const { tables, options } = this.#world;
    const definition = options.modules.find(({ apiName }) => apiName === module);
    const at = definition?.fields.findIndex((one) => one.field === field) ?? -1;
    if (definition === undefined || value === null) return [];
    return [...tables.records(module)].flatMap(([id, { content }]) => (content?.fields[at] === value && tables.hasRow(module, id) ? [id] : []));
  }
}

/** Records of which something is parked now. */
export const parkedRecords = ({ tables, options }: World): ReadonlySet<string> => new Set(options.modules.flatMap(({ apiName }) => tables.projection.parked(apiName).map(({ id }) => `${apiName}/${id}`)));

function textOf(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  return String(typeof value === 'object' && 'id' in value ? value.id : value);
}
