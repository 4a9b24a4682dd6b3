import type { Pool, PoolClient } from 'pg';

/** Cancels the statement that a connection runs once a signal is aborted. @returns what ends the watch. */
export async function cancelWhenAborted(pool: Pool, client: PoolClient, signal: AbortSignal | undefined): Promise<() => void> {
  if (signal === undefined) return () => undefined;
  signal.throwIfAborted();
  const { rows: [backend] } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
  // Where it fails, the statement ends by itself.
  const cancel = (): void => void pool.query('select pg_cancel_backend($1)', [backend?.pid]).catch(() => undefined);
  signal.addEventListener('abort', cancel);
  return () => signal.removeEventListener('abort', cancel);
}
