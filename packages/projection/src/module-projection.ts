import { hash } from 'node:crypto';

import { coverageOf, type ModuleDefinition } from '@lockstep/modules';
import { coverage, type CoverageDeclared } from '@lockstep/record-log';
import type { Pool, PoolClient } from 'pg';

import { ProjectionError } from './errors.ts';
import { registerSql, type RegisterSql } from './register-sql.ts';
import { type WritePlan, writePlan } from './write-plan.ts';

/** One module's projection: its statements, and the coverages its log has declared. */
export class ModuleProjection {
  readonly module: ModuleDefinition;
  readonly registerSql: RegisterSql;
  readonly fingerprint: string;
  readonly keepsDeleted: boolean;
  readonly epsilonMs: number;
  readonly #plans = new Map<string, WritePlan>();

  constructor(module: ModuleDefinition, epsilonMs: number) {
    this.module = module;
    this.registerSql = registerSql(module, epsilonMs);
    this.fingerprint = hash('sha256', JSON.stringify(module)).slice(0, 32);
    this.keepsDeleted = module.onDelete.action === 'mark';
    this.epsilonMs = epsilonMs;
    const own = coverageOf(module);
    this.#plans.set(own.id, writePlan(module, own));
  }

  /** Notes coverages in the batch's transaction, so that a restart in the middle of the log knows them. */
  async declare(client: PoolClient, declared: readonly CoverageDeclared[]): Promise<void> {
    for (const { coverage: id, fields } of declared) {
      if (coverage(fields).id !== id) throw new ProjectionError(`coverage ${id} is declared with fields that are not its own`, 'COVERAGE_UNKNOWN');
      await client.query('insert into lockstep.coverage (module, id, fields) values ($1, $2, $3) on conflict do nothing', [this.module.apiName, id, fields]);
      if (!this.#plans.has(id)) this.#plans.set(id, writePlan(this.module, { id, fields }));
    }
  }

  /**
   * The plan for a coverage.
   * @throws {ProjectionError} `COVERAGE_UNKNOWN` when the log never declared it.
   */
  async planFor(client: PoolClient, id: string): Promise<WritePlan> {
    const known = this.#plans.get(id);
    if (known !== undefined) return known;
    const { rows } = await client.query<{ fields: string[] }>('select fields from lockstep.coverage where module = $1 and id = $2', [this.module.apiName, id]);
    if (rows[0] === undefined) throw new ProjectionError(`the log of ${this.module.apiName} never declared coverage ${id}`, 'COVERAGE_UNKNOWN');
    const plan = writePlan(this.module, { id, fields: rows[0].fields });
    this.#plans.set(id, plan);
    return plan;
  }
}

/**
 * Makes this build's mapping the current one, and checks what it would do to the legacy schema.
 * @throws {ProjectionError} `CASCADING_FOREIGN_KEY` where removing a row would remove or change rows of other tables.
 */
export async function adoptMapping(pool: Pool, { module, fingerprint }: ModuleProjection): Promise<void> {
  const { rows } = await pool.query<{ name: string }>(
    `select conrelid::regclass::text as name from pg_constraint
     where contype = 'f' and confrelid = format('%I.%I', $1::text, $2::text)::regclass and confdeltype in ('c', 'n', 'd')`,
    [module.table.schema, module.table.name],
  );
  if (module.onDelete.action === 'remove' && rows[0] !== undefined) {
    throw new ProjectionError(
      `${module.apiName} removes deleted rows, and ${rows[0].name} has a foreign key that would cascade: use onDelete 'mark', or change the constraint`,
      'CASCADING_FOREIGN_KEY',
    );
  }
  await pool.query(
    `insert into lockstep.mapping (module, fingerprint) values ($1, $2)
     on conflict (module) do update set fingerprint = excluded.fingerprint, built_at = now() where mapping.fingerprint <> excluded.fingerprint`,
    [module.apiName, fingerprint],
  );
}
