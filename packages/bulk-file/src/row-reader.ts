import { loggedFields, type ModuleDefinition } from '@lockstep/modules';
import { canonicalCell, type FieldKind, type FieldValue, instantMs, isRecordId, type LookSpan, type MultiSelect, observedAt } from '@lockstep/record-log';

import { BulkFileError } from './errors.ts';

/** What a row of a bulk file says, or why it says nothing. */
export type ReadRow =
  | { readonly id: string; readonly modifiedMs: number; readonly observedMs: number; readonly fields: FieldValue[]; /** Multi-select fields whose cell was kept as it stands: the picklist does not explain it. */ readonly unexplained?: readonly string[] }
  | { readonly problem: string; readonly id: string };

export type RowReaderOptions = {
  /** CRM times: the job's creation, and the end of the download. */
  readonly span: LookSpan;
  /** By field, how its multi-select cells are read; a field that is not among them is kept as it stands. */
  readonly multiSelects?: ReadonlyMap<string, (cell: string) => MultiSelect>;
};

/**
 * Makes a reader of rows from the header. Columns go by their exact name only: their order is not documented, and the id's was seen as
 * `Id` and `id`.
 * @throws {BulkFileError} `BULK_COLUMNS_MISSING`, `BULK_COLUMNS_AMBIGUOUS`
 */
export function rowReader(module: ModuleDefinition, header: readonly string[], { span, multiSelects = new Map() }: RowReaderOptions): (row: readonly string[]) => ReadRow {
  const { idAt, modifiedAt, columns } = columnsOf(module, header);
  const readers = columns.map(({ field, kind, at }) => ({ field, kind, at, read: kind === 'multiselect' ? multiSelects.get(field) : undefined }));
  return (row) => {
    const id = row[idAt] ?? '';
    if (!isRecordId(id)) return { id: '', problem: 'the id is no number from 1 to 2^63 - 1' };
    const modifiedMs = timeOf(row[modifiedAt] ?? '');
    if (modifiedMs === null) return { id, problem: 'Modified_Time is no time with an offset' };
    let unexplained: string[] | undefined;
    const fields = readers.map(({ field, kind, at, read }) => {
      const cell = row[at] ?? '';
      if (read === undefined) return canonicalCell(kind, cell);
      const { text, isExplained } = read(cell);
      if (!isExplained) (unexplained ??= []).push(field);
      return canonicalCell(kind, text);
    });
    const sighting = { id, modifiedMs, observedMs: observedAt(span, modifiedMs), fields };
    return unexplained === undefined ? sighting : { ...sighting, unexplained };
  };
}

type Columns = { readonly idAt: number; readonly modifiedAt: number; readonly columns: readonly { readonly field: string; readonly kind: FieldKind; readonly at: number }[] };

function columnsOf(module: ModuleDefinition, header: readonly string[]): Columns {
  const { apiName } = module;
  const fields = loggedFields(module);
  const places = Map.groupBy(header.keys(), (at) => (header[at]?.toLowerCase() === 'id' ? 'id' : (header[at] as string)));
  const wanted = ['id', 'Modified_Time', ...fields.map(({ field }) => field)];
  const missing = wanted.filter((name) => !places.has(name));
  if (missing.length > 0) throw new BulkFileError(`the export of ${apiName} has no column ${missing.join(', ')}: the token's user cannot read it, or it cannot be exported`, 'BULK_COLUMNS_MISSING');
  const twice = wanted.filter((name) => (places.get(name)?.length ?? 0) > 1);
  if (twice.length > 0) throw new BulkFileError(`the export of ${apiName} has more than one column ${twice.join(', ')}`, 'BULK_COLUMNS_AMBIGUOUS');
  const at = (name: string): number => places.get(name)?.[0] as number;
  return { idAt: at('id'), modifiedAt: at('Modified_Time'), columns: fields.map(({ field, kind }) => ({ field, kind, at: at(field) })) };
}

function timeOf(text: string): number | null {
  try {
    return instantMs(text);
  } catch {
    return null;
  }
}
