import type { FieldSpec, Value } from '../catalogue/field-spec.ts';
import type { LiveRecord } from '../store/live-record.ts';

/** The switches of the CSV form that the vendor's pages leave open. */
export type CsvForm = { readonly idHeader: 'id' | 'Id'; readonly multiSelectSeparator: ';' | ','; readonly bom: boolean; readonly crlf: boolean };

const needsQuotes = /[",\r\n]/;
const quoted = (text: string): string => (needsQuotes.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

type Cell = (value: Value) => string;

/** How the cells of a column are written; chosen once a column, because a page has millions of cells. */
function cellOf(field: FieldSpec, form: CsvForm, instant: (ms: number) => string): Cell {
  switch (field.kind) {
    case 'datetime':
      return (value) => instant(value as number);
    case 'multiselectpicklist':
      return (value) => quoted((value as readonly string[]).join(form.multiSelectSeparator));
    case 'tags':
      return (value) => quoted((value as readonly string[]).join(','));
    case 'lookup':
    case 'ownerlookup':
    case 'userlookup':
    case 'layout':
      return (value) => (value as { id: string }).id;
    case 'id':
    case 'date':
    case 'bigint':
      return (value) => value as string;
    case 'integer':
    case 'double':
    case 'currency':
    case 'percent':
    case 'boolean':
      return (value) => `${value as number | boolean}`;
    default:
      return (value) => quoted(value as string);
  }
}

/** Writes the lines of a bulk result. An empty value is an empty cell. */
export function csvWriter(fields: readonly FieldSpec[], form: CsvForm, instant: (ms: number) => string) {
  const end = form.crlf ? '\r\n' : '\n';
  const cells = fields.map((field) => cellOf(field, form, instant));
  const names = fields.map((field) => (field.kind === 'id' ? form.idHeader : field.apiName));
  return {
    header: `${form.bom ? '\u{FEFF}' : ''}${names.join(',')}${end}`,
    line: (record: LiveRecord): string => {
      let line = '';
      for (let at = 0; at < fields.length; at++) {
        const value = record.get(fields[at] as FieldSpec);
        if (at > 0) line += ',';
        if (value !== null) line += (cells[at] as Cell)(value);
      }
      return line + end;
    },
  };
}
