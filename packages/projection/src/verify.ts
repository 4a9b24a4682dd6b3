import type { PoolClient } from 'pg';

import type { DescribedTable } from './described-table.ts';
import { ProjectionError } from './errors.ts';
import type { Statement } from './statements.ts';

/**
 * Checks that rows stand as they were written, where triggers may have changed them; those that would run at the end of the transaction run now.
 * @param checks each finds a row that does not.
 * @throws {ProjectionError} `VALUE_NOT_EXACT`.
 */
export async function verify(client: PoolClient, { deferredTriggers }: Pick<DescribedTable, 'deferredTriggers'>, checks: readonly (string | Statement)[]): Promise<void> {
  if (checks.length > 0 && deferredTriggers.length > 0) await client.query(`set constraints ${deferredTriggers.join(', ')} immediate`);
  for (const check of checks) {
    const { rows: [changed] } = await client.query<{ column: string }>(check as string);
    if (changed !== undefined) throw new ProjectionError(`${changed.column}: a trigger of the table changed the value, or kept the row from being written`, 'VALUE_NOT_EXACT');
  }
}
