/**
 * A failure of the database.
 * - `DATABASE_UNREACHABLE`: no connection; retried.
 * - `LEASE_LOST`: the connection that held a lease broke; its holder stops at once.
 * - `REPLAY_UNDER_WAY`: the register is being filled from the log; what has to be decided by it is tried again.
 */
export class DatabaseError extends Error {
  readonly code: 'DATABASE_UNREACHABLE' | 'LEASE_LOST' | 'REPLAY_UNDER_WAY';
  readonly retryable = true;

  constructor(message: string, code: DatabaseError['code'], options?: ErrorOptions) {
    super(message, options);
    this.name = 'DatabaseError';
    this.code = code;
  }
}

/** The SQLSTATE of a Postgres error, `''` for anything else. */
export const sqlState = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' && /^[0-9A-Z]{5}$/.test(error.code) ? error.code : '';

/*
 * SQLSTATE classes that say nothing about the data: connection (08), rollback and deadlock (40), resources (53), operator
 * intervention (57), system (58), lock not available (55), read-only (25006). Anything without a SQLSTATE is the network.
 */
const transient = /^(?:08|40|53|55|57|58)|^25006$/;

/** Whether the same work may succeed later: connection, lock, disk and shutdown errors. They are retried, never parked. */
export function isTransient(error: unknown): boolean {
  const state = sqlState(error);
  if (state !== '') return transient.test(state);
  return error instanceof Error && ('errno' in error || /connection|timeout|terminat|socket|closed/i.test(error.message));
}
