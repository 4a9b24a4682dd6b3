import type { Register } from '@lockstep/record-log';

import type { Known } from './change.ts';
import type { Transaction } from './definition.ts';
import { ConsumerError } from './errors.ts';

type Row = { record_id: string; partition: number; was_alive: boolean; register: Register };

/**
 * What is kept of these records.
 * @throws {ConsumerError} `LOG_REPARTITIONED` when one of them has messages in another partition.
 */
export async function loadNewest(client: Transaction, schema: string, module: string, partition: number, ids: readonly string[]): Promise<Map<string, Known>> {
  if (ids.length === 0) return new Map();
  const { rows } = await client.query<Row>(`select record_id, partition, was_alive, register from ${schema}.newest where module = $1 and record_id = any($2::bigint[])`, [module, ids]);
  const elsewhere = rows.find((row) => row.partition !== partition);
  if (elsewhere !== undefined) throw new ConsumerError(`record ${elsewhere.record_id} of ${module} has messages in the partitions ${elsewhere.partition} and ${partition}: their order is not known`, 'LOG_REPARTITIONED');
  return new Map(rows.map(({ record_id, was_alive, register }) => [record_id, { register, wasAlive: was_alive }]));
}

/** Keeps what these records amount to now. */
export async function storeNewest(client: Transaction, schema: string, module: string, partition: number, records: ReadonlyMap<string, Known>): Promise<void> {
  if (records.size === 0) return;
  const known = [...records.values()];
  await client.query(
    `insert into ${schema}.newest (module, record_id, partition, was_alive, register)
     select $1, id, $2, was_alive, register::json from unnest($3::bigint[], $4::boolean[], $5::text[]) u (id, was_alive, register)
     on conflict (module, record_id) do update set was_alive = excluded.was_alive, register = excluded.register`,
    [module, partition, [...records.keys()], known.map(({ wasAlive }) => wasAlive), known.map(({ register }) => JSON.stringify(register))],
  );
}
