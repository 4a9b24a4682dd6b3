import { isOfRow, isTransient, sqlState } from '@lockstep/postgres';

import type { DescribedTable } from './described-table.ts';
import { ProjectionError } from './errors.ts';

/** What is wrong with data that cannot be applied. */
export type Fault = { readonly code: string; readonly cause: string; /** The check that refuses it. */ readonly check?: string };

const parkable = new Set(['EVENT_FIELDS_MALFORMED', 'VALUE_NOT_STORABLE', 'VALUE_NOT_EXACT', 'COVERAGE_UNKNOWN']);

/**
 * What is wrong with the data, or null when the error is not about data. What may be of a single row is decided in one place: `isOfRow` of packages/postgres.
 * Whatever a function of the table raised is noted as P0001.
 */
export function faultOfData(error: unknown): Fault | null {
  if (error instanceof ProjectionError) return parkable.has(error.code) ? { code: error.code, cause: error.message } : null;
  return isOfRow(error) || isRaisedByFunction(error) ? faultOf(error) : null;
}

/**
 * Why something that waits cannot be applied now. A missing privilege is the row's fault as well, so that it does not keep the others from being tried.
 * @throws what says nothing about that row: connection, lock, disk.
 */
export function faultOrThrow(error: unknown): Fault {
  const fault = faultOfData(error) ?? (error instanceof ProjectionError || sqlState(error) === '' || isTransient(error) ? null : faultOf(error));
  if (fault === null) throw error;
  return fault;
}

/** Data exceptions and constraints (22, 23), limits of a program (54), several rows where one is expected (21000), a text that an expression of the table cannot parse (42601). */
const isDataException = (code: string): boolean => /^2[123]|^54|^42601$/.test(code);

// These end a statement from outside, wherever it is: connection, authorization, lock, deadlock, cancellation, shutdown, memory, disk.
const fromOutside = /^(?:08|28|3D|40|53|57|58)|^(?:25006|55P03)$/;

/**
 * Whether a function of the table raised an error: of a trigger, a check, an index or a generated column. With which SQLSTATE is its author's choice, and
 * so is what it depends on; but it was this row's doing. The context names the function, in the server's language.
 */
export const isRaisedByFunction = (error: unknown): boolean =>
  error instanceof Error && (isOfRow(error) || !fromOutside.test(sqlState(error))) && 'where' in error && typeof error.where === 'string' && /^(?!COPY )(?:.*PL\/\w|SQL(?: function|-Funktion)|(?:fonction|función|funzione|função) SQL)/im.test(error.where);

/*
 * `COPY leads, line 1, column name: "…"`, in any language of the server (`COPY leads, Zeile 1, Spalte name: »…«`): the word before the first colon, unless that is the
 * number of a line. What follows is the content of a row.
 */
const columnOfCopy = /^COPY [^:\n]*?([a-z_]\w*) ?: /m;

function faultOf(error: unknown): Fault {
  const { message, where, constraint } = error as Error & { where?: unknown; constraint?: unknown };
  const column = typeof where === 'string' ? columnOfCopy.exec(where)?.[1] : undefined;
  const code = sqlState(error);
  const cause = column === undefined ? message : `${column}: ${message}`;
  return isRaisedByFunction(error) && !conflicts.has(code) ? { code: RAISED, cause: `${cause} (SQLSTATE ${code})` } : { code, cause, ...(code === CHECK && typeof constraint === 'string' && { check: constraint }) };
}

/*
 * What depends on other rows, and so on the time: restrict_violation (a removal or key change that RESTRICT refuses, from Postgres 18
 * on), foreign_key_violation, unique_violation, exclusion_violation. Of class 23 the others (not_null_violation, check_violation) are
 * faults of the row itself. What a trigger's exception (raise_exception) depends on only its author knows.
 */
const RAISED = 'P0001';
const CHECK = '23514';
const conflicts = new Set(['23001', '23503', '23505', '23P01', RAISED]);

const fitsNever = (code: string): boolean => parkable.has(code) || !isSqlState.test(code) || (isDataException(code) && !conflicts.has(code));

const isSqlState = /^[0-9A-Z]{5}$/;

/**
 * Whether the data itself is at fault, whatever becomes of other rows. What is not may fit later: a parent, or the former owner of a value, may still be on its way; what points
 * to a removed row may leave; so may what a check refuses that goes by the time or by other rows.
 * @param table as it was when it refused the data.
 */
export const fitsNeverIn = ({ unsteadyChecks }: Pick<DescribedTable, 'unsteadyChecks'>, { code, check }: Fault): boolean => fitsNever(code) && (check === undefined || !unsteadyChecks.includes(check));

/** Whether a row that is pointed to is missing, or rows still point to one that goes: restrict_violation, foreign_key_violation. */
export const pointsElsewhere = (code: string): boolean => code === '23001' || code === '23503';
