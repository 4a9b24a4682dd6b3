import { hash } from 'node:crypto';

import type { FieldMapping, ModuleDefinition } from '@lockstep/modules';

/** What of a module's definition decides what stands in its table. */
export type Mapping = Pick<ModuleDefinition, 'table' | 'keyColumn' | 'modifiedTimeColumn' | 'fields'> & {
  /** Null where it is not known by which policy rows of deleted records stand. */
  readonly onDelete: ModuleDefinition['onDelete'] | null;
};

/** The mapping that a module is written by, and what of the table is known to be filled from the log. */
export type MappingState = {
  readonly fingerprint: string;
  /** What stands in the table as far back as the log goes; null where nothing is known of it. */
  readonly complete: Mapping | null;
};

/** Names a mapping: what is logged without a column is no part of it. */
export const fingerprintOf = (module: ModuleDefinition): string => hash('sha256', JSON.stringify({ ...module, alsoLogged: undefined })).slice(0, 32);

export const mappingOf = ({ table, keyColumn, modifiedTimeColumn, onDelete, fields }: ModuleDefinition): Mapping => ({ table, keyColumn, modifiedTimeColumn, onDelete, fields });

/** Whether a column holds the same by both mappings. */
export const isSameField = (one: FieldMapping, other: FieldMapping): boolean => valueRule(one) === valueRule(other);

const valueRule = ({ field, kind, column, type, onExcessScale, onTriggerChange }: FieldMapping): string => JSON.stringify([field, kind, column, type, onExcessScale ?? null, onTriggerChange ?? null]);

/** Whether both mappings name the same rows. */
export const isSameTable = (one: Mapping, other: Mapping): boolean => tableOf(one) === tableOf(other);

const tableOf = ({ table: { schema, name }, keyColumn, modifiedTimeColumn }: Mapping): string => JSON.stringify([schema, name, keyColumn, modifiedTimeColumn]);

/** Whether deleted records are treated the same. */
export const isSameDeletion = (one: Mapping['onDelete'], other: Mapping['onDelete']): boolean => one !== null && other !== null && deletionOf(one) === deletionOf(other);

const deletionOf = (policy: ModuleDefinition['onDelete']): string => (policy.action === 'mark' ? `mark ${policy.deletedColumn}` : policy.action);

/** What is still known to be filled once another mapping is written by: a column that is not written for a while may be outdated afterwards. */
export function completeUnder(complete: Mapping | null, next: Mapping): Mapping | null {
  if (complete === null || !isSameTable(complete, next)) return null;
  return {
    ...complete,
    onDelete: isSameDeletion(complete.onDelete, next.onDelete) ? complete.onDelete : null,
    fields: complete.fields.filter((one) => next.fields.some((other) => isSameField(one, other))),
  };
}
