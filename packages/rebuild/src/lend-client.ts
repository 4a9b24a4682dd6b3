import type { Pool, PoolClient } from 'pg';

/**
 * A connection of the pool. Where it breaks while no statement is under way, the next one fails; without a listener the process would end there, as
 * nothing listens to a connection that is lent.
 */
export async function lendClient(pool: Pool): Promise<PoolClient> {
  const client = await pool.connect();
  if (!client.listeners('error').includes(leaveToNext)) client.on('error', leaveToNext);
  return client;
}

function leaveToNext(): void {
  // The error comes with the next statement.
}
