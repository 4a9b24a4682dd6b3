import type { Pool } from 'pg';

import { kindOfState } from './sql-states.ts';

/**
 * A failure of the database.
 * - `DATABASE_UNREACHABLE`: no connection; retried.
 * - `LEASE_LOST`: the connection that held a lease broke; its holder stops at once.
 * - `SCHEMA_LOST`: schema `lockstep`, or a part of it, is gone. Start the apps again: they create it, and fill it from the log.
 * - `REPLAY_UNDER_WAY`: the register is being filled from the log; what has to be decided by it is tried again.
 */
export class DatabaseError extends Error {
  readonly code: 'DATABASE_UNREACHABLE' | 'LEASE_LOST' | 'SCHEMA_LOST' | 'REPLAY_UNDER_WAY';
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

const OF_LOST_SCHEMA: ReadonlySet<string> = new Set(['42P01', '3F000']);

/** Whether a statement on Lockstep's own tables failed because they are not there: then what happened and what brings them back, else null. */
export const schemaLost = (error: unknown): DatabaseError | null => (OF_LOST_SCHEMA.has(sqlState(error)) ? lostSchema((error as Error).message, error) : null);

function lostSchema(found: string, cause?: unknown): DatabaseError {
  const remedy = 'drop what is left of the schema, and start the apps again, which fill it from the log; with the apps stopped, "lockstep rebuild" does it for all modules';
  return new DatabaseError(`schema "lockstep" of the database was dropped, or a part of it (${found}). Nothing is applied until it is back. The log has all of it: ${remedy}`, 'SCHEMA_LOST', { cause });
}

/** @throws {DatabaseError} `SCHEMA_LOST`; whatever a database that cannot be reached throws. */
export async function checkSchema({ pool }: { readonly pool: Pick<Pool, 'query'> }): Promise<void> {
  const { rows } = await pool.query<{ found: string | null }>(`select to_regclass('lockstep.migration')::text as found`);
  if (rows[0]?.found === null) throw lostSchema('there is no lockstep.migration');
}

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
