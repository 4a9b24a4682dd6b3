import type { ModuleDefinition } from '@lockstep/modules';

/** How a field of the truth compares with a column; written down here apart from the product's own conversions. */
export type MappedColumn = { readonly field: string; readonly column: string; readonly compare: 'text' | 'number' | 'instant' | 'list;' | 'list,' };

/** A row or a record by column or field; rows hold Postgres' own texts. */
export type Values = Readonly<Record<string, unknown>>;

/** A value that is not what it has to be. */
export type Difference = { readonly column: string; readonly expected: unknown; readonly actual: unknown };

/** Makes texts of times comparable, whatever the database's defaults are. To be run in each session that reads rows. */
export const plainSession = `set timezone = 'UTC'; set datestyle = 'ISO, YMD'; set intervalstyle = 'postgres'; set extra_float_digits = 1; set bytea_output = 'hex'; set search_path = ''`;

/** @returns a quoted identifier. */
export const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;

/** `"schema"."table"` of a module. */
export const tableOf = ({ table }: Pick<ModuleDefinition, 'table'>): string => `${quoted(table.schema)}.${quoted(table.name)}`;

/** The column that marks deleted rows, null where they are removed. */
export const deletedColumnOf = ({ onDelete }: Pick<ModuleDefinition, 'onDelete'>): string | null => (onDelete.action === 'mark' ? onDelete.deletedColumn : null);

/** The columns that hold values of the CRM, `Modified_Time` among them; without the key and the mark of a deletion. */
export function mappedColumns({ fields, modifiedTimeColumn }: Pick<ModuleDefinition, 'fields' | 'modifiedTimeColumn'>): readonly MappedColumn[] {
  const modified: MappedColumn = { field: 'Modified_Time', column: modifiedTimeColumn, compare: 'instant' };
  return [modified, ...fields.map(({ field, column, type, kind }): MappedColumn => ({ field, column, compare: comparisonOf(type, kind) }))];
}

/** Every column that Lockstep writes. */
export const writtenColumns = (module: ModuleDefinition): ReadonlySet<string> =>
  new Set([module.keyColumn, ...mappedColumns(module).map(({ column }) => column), ...[deletedColumnOf(module)].filter((name) => name !== null)]);

/** The select list that gives columns as texts under their own names. */
export const asTexts = (columns: readonly string[]): string => columns.map((column) => `${quoted(column)}::text as ${quoted(column)}`).join(', ');

/** @returns every column of a row that is not what the record of the truth says. @param laterByMs how much later than the record's the modified time has to be. */
export function differencesOf(columns: readonly MappedColumn[], record: Values, row: Values, laterByMs = 0): Difference[] {
  return columns.flatMap(({ field, column, compare }) => {
    const expected = field === 'Modified_Time' && laterByMs !== 0 ? new Date(Date.parse(record[field] as string) + laterByMs).toISOString() : (record[field] ?? null);
    const actual = row[column] ?? null;
    return isEqual(compare, expected, actual as string | null) ? [] : [{ column, expected, actual }];
  });
}

function isEqual(compare: MappedColumn['compare'], expected: unknown, actual: string | null): boolean {
  if (actual === null || expected === null || expected === '') return actual === null && (expected === null || expected === '' || (Array.isArray(expected) && expected.length === 0));
  switch (compare) {
    case 'text':
      return textOf(expected) === actual;
    case 'number':
      return Number(expected) === Number(actual) && (typeof expected === 'number' || textOf(expected).replace(/^0+(?=\d)/, '') === actual);
    case 'instant':
      return instantText(textOf(expected)) === instantText(actual);
    case 'list;':
      return (expected as unknown[]).join(';') === actual;
    case 'list,':
      return (expected as unknown[]).join(',') === actual;
  }
}

/** To the millisecond, and whatever Postgres has beyond it. A time without a zone is one of UTC. */
function instantText(text: string): string {
  const [, day = '', time = '', fraction = '', zone = ''] = /^(\d+-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d+))?(.*)$/.exec(text) ?? [];
  const ms = Date.parse(`${day}T${time}${zone === '' ? 'Z' : zone.replace(/^([+-]\d\d)$/, '$1:00')}`);
  return Number.isNaN(ms) ? text : `${ms / 1000}.${fraction.replace(/0+$/, '')}`;
}

const textOf = (value: unknown): string => (typeof value === 'object' ? JSON.stringify(value) : `${value as string | number | boolean}`);

function comparisonOf(type: string, kind: string): MappedColumn['compare'] {
  if (kind === 'multiselect') return 'list;';
  if (kind === 'tags') return 'list,';
  if (type === 'timestamptz') return 'instant';
  return /^(?:bigint|integer|numeric)/.test(type) ? 'number' : 'text';
}
