import { hash } from 'node:crypto';

import { coverageOf, type ModuleDefinition } from '@lockstep/modules';
import { type Coverage, coverage, type CoverageDeclared } from '@lockstep/record-log';
import type { PoolClient } from 'pg';

import type { DescribedTable } from './described-table.ts';
import { ProjectionError } from './errors.ts';
import { fingerprintOf } from './mapping-state.ts';
import { registerSql, type RegisterSql } from './register-sql.ts';
import { checkTable, maySpeakOfTable } from './table-check.ts';
import { shapeSql } from './table-shape.ts';
import type { Prepared } from './statements.ts';
import { type WritePlan, writePlan } from './write-plan.ts';

type Client = Pick<PoolClient, 'query'>;

/** One module's projection: its table as it was last read, its statements, and the coverages its log has declared. */
export class ModuleProjection {
  readonly module: ModuleDefinition;
  readonly registerSql: RegisterSql;
  readonly fingerprint: string;
  readonly keepsDeleted: boolean;
  readonly epsilonMs: number;
  /** The coverage of the module's own definition. */
  readonly own: Coverage;
  readonly #coverages = new Map<string, readonly string[]>();
  readonly #plans = new Map<string, WritePlan>();
  #shape: Prepared;
  #table: DescribedTable | undefined;
  #judgedBy = '';
  /** What works with the table as it is, and may surprise; for the log. */
  notes: readonly string[] = [];

  constructor(module: ModuleDefinition, epsilonMs: number) {
    this.module = module;
    this.registerSql = registerSql(module, epsilonMs);
    this.fingerprint = fingerprintOf(module);
    this.keepsDeleted = module.onDelete.action === 'mark';
    this.epsilonMs = epsilonMs;
    this.own = coverageOf(module);
    this.#shape = shapeSql(module, { isPlain: false });
    this.#coverages.set(this.own.id, this.own.fields);
  }

  /** The table as it was last read. */
  get table(): DescribedTable {
    if (this.#table === undefined) throw new ProjectionError(`the table of ${this.module.apiName} was not read yet`, 'TABLE_CHANGED');
    return this.#table;
  }

  /** Names the mapping and the table that a value is judged by; another one may take what this one refused. Empty before the table was read. */
  get judgedBy(): string {
    return this.#judgedBy;
  }

  /**
   * Reads the table, and checks that it fits, unless it is known and has not changed. What was built for a changed table is built again.
   * @returns whether it changed since it was last read.
   * @throws {ProjectionError} `TABLE_UNFIT`, `CASCADING_FOREIGN_KEY`.
   */
  async readTable(client: Client): Promise<boolean> {
    const { table, notes } = await checkTable(client, this.module);
    const isChanged = this.#table?.shape !== table.shape;
    if (isChanged) await this.#dropPlans(client);
    this.#table = table;
    this.#shape = shapeSql(this.module, table);
    this.#judgedBy = hash('sha256', `${this.fingerprint} ${table.shape}`).slice(0, 32);
    this.notes = notes;
    return isChanged;
  }

  /** With the stages that this connection made for them: they would keep a type of the former table from being dropped. */
  async #dropPlans(client: Client): Promise<void> {
    const stages = [...this.#plans.values()].map(({ stage }) => stage);
    this.#plans.clear();
    if (stages.length > 0) await client.query(`drop table if exists ${stages.join(', ')}`);
  }

  /**
   * Does work that depends on the table; again, with new plans, when it fails because the table was changed.
   * @throws {ProjectionError} `TABLE_UNFIT` when the table no longer fits.
   */
  async onCurrentTable<T>(client: PoolClient, work: () => Promise<T>): Promise<T> {
    if (this.#table === undefined) await this.readTable(client);
    try {
      return await work();
    } catch (error) {
      if (!maySpeakOfTable(error) || !(await this.readTable(client))) throw error;
      return await work();
    }
  }

  /** Goes by a table that is not there yet, to see what it would hold; nothing is written by it. */
  assumeTable(table: DescribedTable): void {
    this.#plans.clear();
    this.#table = table;
  }

  /** What the table is now, for {@link checkShape}; it stays so until the transaction ends. */
  get shapeStatement(): Prepared {
    return this.#shape;
  }

  /** @throws {ProjectionError} `TABLE_CHANGED` when the table is not the one the plans are built for. */
  checkShape(rows: readonly unknown[]): void {
    const [row] = rows as { shape: string }[];
    if (row?.shape !== this.table.shape) throw new ProjectionError(`the table of ${this.module.apiName} was changed`, 'TABLE_CHANGED');
  }

  /** Notes coverages in the batch's transaction, so that a restart in the middle of the log knows them. */
  async declare(client: PoolClient, declared: readonly CoverageDeclared[]): Promise<void> {
    for (const { coverage: id, fields } of declared) {
      if (coverage(fields).id !== id) throw new ProjectionError(`coverage ${id} is declared with fields that are not its own`, 'COVERAGE_UNKNOWN');
      await client.query('insert into lockstep.coverage (module, id, fields) values ($1, $2, $3) on conflict do nothing', [this.module.apiName, id, fields]);
      this.#coverages.set(id, fields);
    }
  }

  /**
   * The plan for a coverage.
   * @throws {ProjectionError} `COVERAGE_UNKNOWN` when the log never declared it.
   */
  async planFor(client: PoolClient, id: string): Promise<WritePlan> {
    const known = this.#plans.get(id);
    if (known !== undefined) return known;
    return this.planOf({ id, fields: await this.fieldsOf(client, id) });
  }

  /** The plan for these fields, whether the log has declared them or not. */
  planOf(covered: Coverage): WritePlan {
    const plan = this.#plans.get(covered.id) ?? writePlan(this.module, this.table, covered);
    this.#plans.set(covered.id, plan);
    return plan;
  }

  /**
   * The fields of a coverage.
   * @throws {ProjectionError} `COVERAGE_UNKNOWN` when the log never declared it.
   */
  async fieldsOf(client: PoolClient, id: string): Promise<readonly string[]> {
    const known = this.#coverages.get(id);
    if (known !== undefined) return known;
    const { rows: [row] } = await client.query<{ fields: string[] }>('select fields from lockstep.coverage where module = $1 and id = $2', [this.module.apiName, id]);
    if (row === undefined) throw new ProjectionError(`the log of ${this.module.apiName} never declared coverage ${id}`, 'COVERAGE_UNKNOWN');
    this.#coverages.set(id, row.fields);
    return row.fields;
  }
}

export { adoptMapping, standingMapping } from './adopt-mapping.ts';
