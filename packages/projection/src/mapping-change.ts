import type { FieldMapping, ModuleDefinition } from '@lockstep/modules';

import { isSameDeletion, isSameField, isSameTable, type Mapping, mappingOf } from './mapping-state.ts';

/** What becomes of a column. */
export type ColumnChange = {
  readonly column: string;
  /** `mapped`: it is filled from now on; `unmapped`: it is left as it stands; `changed`: another field, kind, type or policy. */
  readonly change: 'mapped' | 'unmapped' | 'changed';
  readonly from: FieldMapping | null;
  readonly to: FieldMapping | null;
};

type Deletion = ModuleDefinition['onDelete'];

/** What a definition changes against what the table is known to be filled by. */
export type MappingChange = {
  /** False where it is not known by what the table was filled, or another table or key is named: then all of it is compared. */
  readonly isKnown: boolean;
  readonly columns: readonly ColumnChange[];
  /** Those whose columns are not known to be filled. */
  readonly fields: readonly FieldMapping[];
  /** Set where deleted records are treated in another way; `from` is null where it is not known how they were. */
  readonly onDelete: { readonly from: Deletion | null; readonly to: Deletion } | null;
};

/** Compares what a table is filled by with a definition. */
export function mappingChange(complete: Mapping | null, module: ModuleDefinition): MappingChange {
  if (complete === null || !isSameTable(complete, mappingOf(module))) return { isKnown: false, columns: [], fields: module.fields, onDelete: null };
  const before = new Map(complete.fields.map((one) => [one.column, one]));
  const now = new Set(module.fields.map(({ column }) => column));
  const fields = module.fields.filter((one) => !isSameAs(before.get(one.column), one));
  return {
    isKnown: true,
    fields,
    columns: [
      ...fields.map((to): ColumnChange => ({ column: to.column, change: before.has(to.column) ? 'changed' : 'mapped', from: before.get(to.column) ?? null, to })),
      ...complete.fields.filter(({ column }) => !now.has(column)).map((from): ColumnChange => ({ column: from.column, change: 'unmapped', from, to: null })),
    ],
    onDelete: isSameDeletion(complete.onDelete, module.onDelete) ? null : { from: complete.onDelete, to: module.onDelete },
  };
}

const isSameAs = (before: FieldMapping | undefined, now: FieldMapping): boolean => before !== undefined && isSameField(before, now);
