import type { ModuleDefinition } from '@lockstep/modules';
import { sqlState } from '@lockstep/postgres';
import type { PoolClient } from 'pg';

import type { DescribedTable } from './described-table.ts';
import { ProjectionError } from './errors.ts';
import { describeTable } from './table-catalogue.ts';
import { judgeTable } from './table-faults.ts';

/**
 * Reads a module's table and compares it with the mapping.
 * @returns the table, and what works and may surprise.
 * @throws {ProjectionError} `TABLE_UNFIT` or `CASCADING_FOREIGN_KEY`, naming every fault and its remedy.
 */
export async function checkTable(client: Pick<PoolClient, 'query'>, module: ModuleDefinition): Promise<{ table: DescribedTable; notes: readonly string[] }> {
  const table = await describeTable(client, module);
  const { faults, notes, cascades } = judgeTable(module, table);
  const removals = cascades.map((name) => `${module.apiName} removes deleted rows, and ${name} has a foreign key that would cascade: use onDelete 'mark', or change the constraint`);
  const all = [...faults, ...removals];
  if (table !== null && all.length === 0) return { table, notes };
  const text = `${module.apiName} and table ${module.table.schema}.${module.table.name} do not fit:${all.map((fault) => `\n- ${fault}`).join('')}`;
  throw new ProjectionError(text, faults.length === 0 ? 'CASCADING_FOREIGN_KEY' : 'TABLE_UNFIT');
}

/*
 * Syntax and access rules (42), features that a table does not support, such as COPY under row-level security (0A), a missing schema (3F)
 * or statement (26), a wrong state such as an index that ON CONFLICT cannot use (55000), and what the catalogue's caches report of a
 * type that was dropped (XX).
 */
const ofTable = /^(?:42|0A|3F|26|XX)|^55000$/;

/** Whether an error may be due to a table that is not what the statements were built for. */
export const maySpeakOfTable = (error: unknown): boolean => (error instanceof ProjectionError ? error.code === 'TABLE_CHANGED' : ofTable.test(sqlState(error)));
