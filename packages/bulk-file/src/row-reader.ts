import type { ModuleDefinition } from '@lockstep/modules';
import { canonicalCell, type FieldKind, type FieldValue, instantMs, type LookSpan, observedAt } from '@lockstep/record-log';

import { BulkFileError } from './errors.ts';

/** What a row of a bulk file says, or why it says nothing. */
export type ReadRow =
  | { readonly id: string; readonly modifiedMs: number; readonly observedMs: number; readonly fields: FieldValue[] }
  | { readonly problem: string; readonly id: string };

/**
 * Makes a reader of rows from the header. Columns go by name only: their order is not documented, and the id's was seen as
 * `Id` and `id`.
 * @param span CRM times: the job's creation, and the end of the download.
 * @throws {BulkFileError} `BULK_COLUMNS_MISSING`
 */
export function rowReader(module: ModuleDefinition, header: readonly string[], span: LookSpan): (row: readonly string[]) => ReadRow {
  const byName = new Map(header.map((name, at) => [name.trim(), at]));
  const idAt = header.findIndex((name) => name.trim().toLowerCase() === 'id');
  const modifiedAt = byName.get('Modified_Time') ?? -1;
  const missing = [...(idAt < 0 ? ['id'] : []), ...(modifiedAt < 0 ? ['Modified_Time'] : []), ...module.fields.filter(({ field }) => !byName.has(field)).map(({ field }) => field)];
  if (missing.length > 0) {
    throw new BulkFileError(`the export of ${module.apiName} has no column ${missing.join(', ')}: the token's user cannot read it, or it cannot be exported`, 'BULK_COLUMNS_MISSING');
  }
  const columns = module.fields.map(({ field, kind }): { at: number; kind: FieldKind } => ({ at: byName.get(field) as number, kind }));
  return (row) => {
    const id = row[idAt] ?? '';
    if (!/^[1-9]\d{0,18}$/.test(id)) return { id: '', problem: 'the id is no number of 1 to 19 digits' };
    const modifiedMs = timeOf(row[modifiedAt] ?? '');
    if (modifiedMs === null) return { id, problem: 'Modified_Time is no time with an offset' };
    return { id, modifiedMs, observedMs: observedAt(span, modifiedMs), fields: columns.map(({ at, kind }) => canonicalCell(kind, row[at] ?? '')) };
  };
}

function timeOf(text: string): number | null {
  try {
    return instantMs(text);
  } catch {
    return null;
  }
}
