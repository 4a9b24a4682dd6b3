/**
 * A timestamp column as epoch milliseconds under its own name. The ORM leaves timestamps of plain queries as text, in the form
 * of the session.
 */
export const ms = (column: string, name = column): string => `(extract(epoch from ${column}) * 1000)::float8 as "${name}"`;
