import { coverageOf, type ModuleDefinition } from '@lockstep/modules';
import type { Coverage } from '@lockstep/record-log';

import type { Transaction } from './definition.ts';

/** The coverages that a module's log has declared. An id is a function of its fields, so what is known once stays right, whatever becomes of a transaction. */
export class CoverageBook {
  readonly #schema: string;
  readonly #module: string;
  readonly known = new Map<string, readonly string[]>();

  constructor(schema: string, module: ModuleDefinition) {
    this.#schema = schema;
    this.#module = module.apiName;
    const own = coverageOf(module);
    this.known.set(own.id, own.fields);
  }

  /** Reads those that are named and not known yet. */
  async load(client: Transaction, ids: Iterable<string>): Promise<void> {
    const missing = [...new Set(ids)].filter((id) => !this.known.has(id));
    if (missing.length === 0) return;
    const { rows } = await client.query<Coverage>(`select id, fields from ${this.#schema}.coverage where module = $1 and id = any($2)`, [this.#module, missing]);
    for (const { id, fields } of rows) this.known.set(id, fields);
  }

  /** Notes what a batch declares, in its transaction. */
  async declare(client: Transaction, declared: readonly Coverage[]): Promise<void> {
    for (const { id, fields } of declared) {
      await client.query(`insert into ${this.#schema}.coverage (module, id, fields) values ($1, $2, $3) on conflict do nothing`, [this.#module, id, fields]);
      this.known.set(id, fields);
    }
  }
}
