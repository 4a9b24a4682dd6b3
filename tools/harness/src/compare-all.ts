import { modules } from '@lockstep/modules';

import { compareWithTruth, type Comparison } from './compare.ts';
import { HarnessError } from './errors.ts';
import type { Lockstep } from './lockstep.ts';

/**
 * Compares the legacy tables with the simulator's truth: every column of every row.
 * @param modifiedLaterByMs how much later than the CRM's the modified times have to be, where a measurement moved them.
 */
export async function compareAll({ databaseUrl, simulator }: Pick<Lockstep, 'databaseUrl' | 'simulator'>, names: readonly string[] = modules.map(({ apiName }) => apiName), { modifiedLaterByMs = 0 }: { modifiedLaterByMs?: number } = {}): Promise<Comparison> {
  if (simulator === undefined) throw new HarnessError('only the simulator tells the truth to compare with', 'NO_SIMULATOR');
  const found = [];
  for (const { apiName, table, fields, onDelete } of modules.filter((module) => names.includes(module.apiName))) {
    const deletedColumn = onDelete.action === 'mark' ? onDelete.deletedColumn : null;
    found.push(await compareWithTruth({ databaseUrl, simulatorUrl: simulator.url, module: apiName, table: `${table.schema}.${table.name}`, fields, deletedColumn, modifiedLaterByMs }));
  }
  return {
    rows: found.reduce((sum, one) => sum + one.rows, 0),
    values: found.reduce((sum, one) => sum + one.values, 0),
    mismatches: found.reduce((sum, one) => sum + one.mismatches, 0),
    examples: found.flatMap((one) => one.examples),
  };
}
