import { kindOfState } from './sql-states.ts';

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

/** Whether the same work may succeed later: connection, configuration, lock, disk and shutdown errors. They are waited for, never parked. */
export function isTransient(error: unknown): boolean {
  const state = sqlState(error);
  if (state !== '') return kindOfState(state) === 'outside';
  return error instanceof Error && ('errno' in error || /connection|timeout|terminat|socket|closed/i.test(error.message));
}

// Where in Postgres's source an error was raised does not depend on the server's language, as its text does.
const OF_ROW_POLICY = 'ExecWithCheckOptions';
const OF_PARTITION_MOVE = 'ExecCrossPartitionUpdateForeignKey';
const OF_RAISE = 'exec_stmt_raise';

/**
 * Whether a single row may be the cause of a statement's failure, so that the rows beside it may be written. `RAISE` in a function of the table is
 * the row's doing whatever SQLSTATE its author chose; a missing privilege is not, but a row that a policy refuses has the same code.
 */
export function isOfRow(error: unknown): boolean {
  const state = sqlState(error);
  if (state === '') return false;
  const { routine, position } = error as { readonly routine?: unknown; readonly position?: unknown };
  if (routine === OF_RAISE || routine === OF_ROW_POLICY || routine === OF_PARTITION_MOVE) return true;
  const kind = kindOfState(state);
  return kind === 'row' || (kind === 'at run' && position === undefined);
}
