import { CrmError } from './errors.ts';

/** The CRM's words for a query or an export that names what it does not have. */
const OF_A_FIELD: ReadonlySet<string> = new Set(['INVALID_QUERY', 'SYNTAX_ERROR', 'FIELD_NOT_AVAILABLE', 'FIELD_NOT_SUPPORTED']);

/** Whether a query or an export may have been refused for one of its fields: it was removed or renamed, or may not be read. */
export const isOfAField = (error: unknown): error is CrmError => error instanceof CrmError && error.code === 'CRM_REFUSED' && OF_A_FIELD.has(error.crmCode);

/** The field that a refusal names, whatever the key: `column_name` of queries, `field` of jobs. Null where it names none of these. */
export const fieldNamedBy = ({ details }: CrmError, fields: readonly string[]): string | null => fields.find((field) => Object.values(details).includes(field)) ?? null;
