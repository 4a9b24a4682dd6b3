import { removalWaitsSql } from '@lockstep/postgres';
import type { PoolClient } from 'pg';

import type { FoldedRecord } from './fold-batch.ts';
import type { ModuleProjection } from './module-projection.ts';

/**
 * While the removal of a row waits, the row may have given up a unique value. Where the record is restored by a content that does not speak of all fields, such as a look that
 * could not read a text whole, another look is wanted: without one the value would be missing until the record is next read in full.
 * @param won contents that have won the register, before what is parked of their records is resolved.
 */
export async function wantRestOfRestored(client: PoolClient, { module: { apiName }, keepsDeleted, own }: ModuleProjection, won: readonly FoldedRecord[]): Promise<void> {
  const inPart = keepsDeleted ? [] : won.filter(({ coverage }) => coverage !== own.id).map(({ id }) => id);
  if (inPart.length === 0) return;
  await client.query(
    `insert into lockstep.look_wanted (module, record_id, reason)
     select r.module, r.record_id, 'restored' from (select $1 as module, unnest($2::bigint[]) as record_id) r where ${removalWaitsSql('r')}
     on conflict (module, record_id) do nothing`,
    [apiName, inPart],
  );
}
