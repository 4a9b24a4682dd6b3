import type { ModuleDefinition } from '@lockstep/modules';

/** Which coverage speaks of all that another one does, as far as it is mapped. */
export class Coverages {
  readonly #mapped: ReadonlySet<string>;
  readonly #fields = new Map<string, ReadonlySet<string>>();

  constructor({ fields }: ModuleDefinition) {
    this.#mapped = new Set(fields.map(({ field }) => field));
  }

  declare(coverage: string, fields: readonly string[]): void {
    this.#fields.set(coverage, new Set(fields.filter((field) => this.#mapped.has(field))));
  }

  covers(newer: string, older: string): boolean {
    const [all, some] = [this.#fields.get(newer), this.#fields.get(older)];
    // What covers all that is mapped covers a coverage that was never declared as well.
    return all !== undefined && (all.size === this.#mapped.size || (some !== undefined && [...some].every((field) => all.has(field))));
  }
}
