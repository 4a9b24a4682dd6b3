import { copyInto } from '@lockstep/postgres';
import type { PoolClient } from 'pg';

import { winnersAsCopyText } from './copy-rows.ts';
import { type Fault, faultOfData } from './fault-of-data.ts';
import { foldBatch, type LogMessage } from './fold-batch.ts';
import type { ModuleProjection } from './module-projection.ts';

// Data exceptions, and what a domain refuses: null, or a value against its check.
const ofColumn = /^(?:VALUE_NOT_EXACT|22...|23502|23514)$/;

/**
 * The fault of a message that is to be parked, with its column: only COPY names the column of a value that does not fit, so the message is
 * copied to the stage, and nothing of that stays. Where Postgres itself refuses the value, its verdict counts.
 */
export async function faultByColumn(client: PoolClient, projection: ModuleProjection, message: LogMessage, fault: Fault): Promise<Fault> {
  if (!ofColumn.test(fault.code)) return fault;
  const [record] = foldBatch([message]).records.values();
  if (record === undefined || record.hash === '') return fault;
  await client.query('begin');
  try {
    const plan = await projection.planFor(client, record.coverage);
    await client.query(plan.createStage);
    const text = winnersAsCopyText([{ record, deletedMs: null }], { ...plan, rules: [], modifiedStepMs: 1 });
    await copyInto(client, `${plan.stage} (${plan.columns.map((column) => `"${column}"`).join(', ')})`, text);
    return fault;
  } catch (error) {
    const named = faultOfData(error);
    if (named === null) throw error;
    return named;
  } finally {
    await client.query('rollback');
  }
}
