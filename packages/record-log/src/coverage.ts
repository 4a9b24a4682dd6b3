import { hash } from 'node:crypto';

/** An ordered list of field names, known in the log by its id. */
export type Coverage = { readonly id: string; readonly fields: readonly string[] };

/** The coverage of these fields. The id is a function of the list: 8 hex digits of SHA-256 over its JSON. */
export const coverage = (fields: readonly string[]): Coverage => ({ id: hash('sha256', JSON.stringify(fields)).slice(0, 8), fields });
