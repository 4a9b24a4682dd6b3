import type { Pool } from 'pg';

import type { ConsumedChange, Transaction } from './definition.ts';

/** What is to be sent, as it is stored. */
export type Delivery = {
  readonly seq: string;
  readonly idempotencyKey: string;
  readonly module: string;
  readonly id: string;
  /** The payload as one line of JSON, the same bytes at every attempt. */
  readonly body: string;
  /** Attempts that have failed so far. */
  readonly attempts: number;
};

/** Stores what is to be sent for changes, in the batch's transaction. @returns how many are new. */
export async function enqueue(client: Transaction, schema: string, topicId: string, payloads: readonly { readonly change: ConsumedChange; readonly payload: object }[]): Promise<number> {
  if (payloads.length === 0) return 0;
  const changes = payloads.map(({ change }) => change);
  const { rowCount } = await client.query(
    `insert into ${schema}.outbox (idempotency_key, module, record_id, topic_id, partition, log_offset, payload)
     select key, module, id, $1, partition, log_offset, payload::json
     from unnest($2::text[], $3::text[], $4::bigint[], $5::int[], $6::bigint[], $7::text[]) with ordinality u (key, module, id, partition, log_offset, payload, at) order by at
     on conflict (idempotency_key) do nothing`,
    [topicId, changes.map(({ idempotencyKey }) => idempotencyKey), changes.map(({ module }) => module), changes.map(({ id }) => id), changes.map(({ place }) => place.partition), changes.map(({ place }) => place.offset), payloads.map(({ payload }) => JSON.stringify(payload))],
  );
  return rowCount ?? 0;
}

const columns = 'o.seq, o.idempotency_key as "idempotencyKey", o.module, o.record_id as id, o.payload::text as body, o.attempts';

/** The first that waits of each record, where it is due: those that have failed least often first, and of these the one that was not tried for longest. One that was never tried is due whatever the database's clock says. */
export async function dueDeliveries(pool: Pool, schema: string, limit: number): Promise<Delivery[]> {
  const { rows } = await pool.query<Delivery>(
    `select ${columns} from ${schema}.outbox o
     where o.delivered_at is null and (o.attempts = 0 or o.next_try_at <= now())
       and not exists (select from ${schema}.outbox e where e.module = o.module and e.record_id = o.record_id and e.delivered_at is null and e.seq < o.seq)
     order by o.attempts, o.next_try_at, o.seq limit $1`,
    [limit],
  );
  return rows;
}

/** All that wait, in the order in which they came. */
export async function waitingDeliveries(client: Transaction, schema: string, limit: number): Promise<Delivery[]> {
  const { rows } = await client.query<Delivery>(`select ${columns} from ${schema}.outbox o where o.delivered_at is null order by o.seq limit $1`, [limit]);
  return rows;
}

export async function noteDelivered(client: Transaction, schema: string, deliveries: readonly Delivery[]): Promise<void> {
  await client.query(`update ${schema}.outbox set delivered_at = now(), last_error = null where seq = any($1::bigint[]) and delivered_at is null`, [deliveries.map(({ seq }) => seq)]);
}

/** Notes a failed attempt, and when the next one is due. */
export async function noteFailed(client: Transaction, schema: string, { seq }: Delivery, { error, retryInMs, isCounted }: { readonly error: string; readonly retryInMs: number; readonly isCounted: boolean }): Promise<void> {
  await client.query(
    `update ${schema}.outbox set attempts = attempts + $4::int, next_try_at = now() + $3 * interval '1 millisecond', last_error = left($2, 1000) where seq = $1 and delivered_at is null`,
    [seq, error.replaceAll('\0', ''), retryInMs, Number(isCounted)],
  );
}

/** Deliveries that wait, and those among them that have failed so often. */
export async function outboxCounts(pool: Pool, schema: string, failedFrom: number): Promise<{ readonly waiting: number; readonly failing: number }> {
  const { rows: [row] } = await pool.query<{ waiting: string; failing: string }>(`select count(*) as waiting, count(*) filter (where attempts >= $1) as failing from ${schema}.outbox where delivered_at is null`, [failedFrom]);
  return { waiting: Number(row?.waiting ?? 0), failing: Number(row?.failing ?? 0) };
}

/** Removes what was delivered so many days ago. */
export async function forgetDelivered(pool: Pool, schema: string, days: number): Promise<void> {
  await pool.query(`delete from ${schema}.outbox where delivered_at < now() - $1 * interval '1 day'`, [days]);
}
