import { sqlState } from '@lockstep/postgres';

import { ProjectionError } from './errors.ts';

/** What is wrong with data that cannot be applied. */
export type Fault = { readonly code: string; readonly cause: string };

const parkable = new Set(['EVENT_FIELDS_MALFORMED', 'VALUE_NOT_STORABLE', 'VALUE_NOT_EXACT', 'COVERAGE_UNKNOWN']);

/** What is wrong with the data, or null when the error is not about data. Classes 22 and 23: data exceptions, constraints. */
export function faultOfData(error: unknown): Fault | null {
  if (error instanceof ProjectionError) return parkable.has(error.code) ? { code: error.code, cause: error.message } : null;
  const code = sqlState(error);
  if (!(error instanceof Error) || !/^2[23]/.test(code)) return null;
  const column = 'where' in error && typeof error.where === 'string' ? /column "?(\w+)/.exec(error.where)?.[1] : undefined;
  return { code, cause: column === undefined ? error.message : `${column}: ${error.message}` };
}

/** Whether the same data may fit later: a foreign key's parent or a unique value's former owner may still be on its way. */
export const mayYetFit = (code: string): boolean => code === '23503' || code === '23505';
