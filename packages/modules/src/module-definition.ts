import type { FieldKind } from '@lockstep/record-log';

import { loggedFields } from './logged-fields.ts';

/** Postgres types that a mapping may declare. The projector goes by the table's own types, which may be others. */
export type ColumnType =
  | 'text' | 'bigint' | 'integer' | 'smallint' | 'numeric' | 'double precision' | 'boolean' | 'date' | 'timestamptz' | 'timestamp' | 'uuid'
  | `varchar(${number})` | `char(${number})` | `numeric(${number},${number})`;

/** A field of a CRM module that is read and kept in the log. */
export type LoggedField = {
  /** API name in the CRM, e.g. `Last_Name`. */
  readonly field: string;
  /** How the CRM's value is brought into its canonical form; the same from a CSV cell and from a JSON reply. */
  readonly kind: FieldKind;
};

/** One core field of a CRM module, and the legacy column that receives it. */
export type FieldMapping = LoggedField & {
  readonly column: string;
  /** What the author of the mapping expects the column to be. Where the table has another type, the projector says so at its start. */
  readonly type: ColumnType;
  /**
   * What to do with a number that has more digits after the point than the column keeps, or a time with a finer fraction of a
   * second: `round` lets Postgres round it; without this policy the record is kept aside (`VALUE_NOT_EXACT`). Choose `round` where
   * the legacy application expects rounded values, and for `real` and `double precision`, which keep no decimal exactly.
   */
  readonly onExcessScale?: 'round';
  /**
   * What to do where a trigger of the table changes the column's value: `accept` leaves it as the trigger made it; without this policy the record is kept aside
   * (`VALUE_NOT_EXACT`). Choose `accept` where the legacy application normalises the column itself.
   */
  readonly onTriggerChange?: 'accept';
  /** For a lookup: API name of the module it points to. When a record of that is deleted, this module's rows that point to it are looked at. */
  readonly refersTo?: string;
};

/** How one CRM module becomes one legacy table. Everything module-specific is said here, and nowhere else. */
export type ModuleDefinition = {
  /** API name in the CRM, e.g. `Leads`. */
  readonly apiName: string;
  /** Topic suffix and register partition: lower case, `[a-z0-9_]`. */
  readonly slug: string;
  readonly table: { readonly schema: string; readonly name: string };
  /** Legacy column of the CRM record id: `bigint`, or a numeric or text that holds 19 digits (ids exceed 2^53), with a unique index of its own. */
  readonly keyColumn: string;
  /** Legacy column of `Modified_Time`: `timestamptz`, or `timestamp`, which then holds UTC. */
  readonly modifiedTimeColumn: string;
  /** What a deletion in the CRM does: `mark` fills `deletedColumn` and keeps the row, `remove` deletes the row. */
  readonly onDelete: { readonly action: 'mark'; readonly deletedColumn: string } | { readonly action: 'remove' };
  /**
   * What a conversion does (a module without it has none): `keep` leaves the row one like any other, `mark` demands a boolean column for
   * `Converted__s`, which shows it to the legacy application. Either way the record lives on, and its row with it.
   */
  readonly onConvert?: 'keep' | 'mark';
  /** The core fields in coverage order: those that bulk CSV and COQL can both read. */
  readonly fields: readonly FieldMapping[];
  /**
   * Fields that are kept in the log and have no column yet. One that is mapped later is filled from the log, without a call to the CRM, as far back as it was
   * logged. They cost their bytes in the log, and their places among the fields of a query.
   */
  readonly alsoLogged?: readonly LoggedField[];
};

const scaled: ReadonlySet<FieldKind> = new Set(['integer', 'decimal', 'datetime']);
const identifier = /^[a-z_][a-z0-9_]{0,62}$/;

/**
 * Checks a definition once, at load, so that everything after may trust it.
 * @throws {Error} naming the module and the entry that is wrong.
 */
export function defineModule(definition: ModuleDefinition): ModuleDefinition {
  const fail = (problem: string): never => {
    throw new Error(`module ${definition.apiName}: ${problem}`);
  };
  const deleted = definition.onDelete.action === 'mark' ? [definition.onDelete.deletedColumn] : [];
  const columns = [definition.keyColumn, definition.modifiedTimeColumn, ...deleted, ...definition.fields.map((f) => f.column)];
  for (const name of [definition.table.schema, definition.table.name, definition.slug, ...columns]) {
    if (!identifier.test(name)) fail(`"${name}" is no plain lower-case identifier`);
  }
  if (new Set(columns).size !== columns.length) fail('a legacy column is mapped twice');
  const logged = loggedFields(definition);
  if (new Set(logged.map((f) => f.field)).size !== logged.length) fail('a CRM field is mapped twice, or mapped and also logged');
  if (logged.some((f) => f.field === 'id' || f.field === 'Modified_Time')) {
    fail('id and Modified_Time belong to every event; name their columns with keyColumn and modifiedTimeColumn');
  }
  if (definition.onConvert === 'mark' && !definition.fields.some(({ field, kind }) => field === 'Converted__s' && kind === 'boolean')) fail("onConvert 'mark' needs a boolean column for Converted__s");
  const notRounded = definition.fields.find(({ onExcessScale, kind }) => onExcessScale !== undefined && !scaled.has(kind));
  if (notRounded !== undefined) fail(`${notRounded.field} is of kind ${notRounded.kind}, which has nothing to round`);
  const notLookup = definition.fields.find(({ refersTo, kind }) => refersTo !== undefined && kind !== 'lookup');
  if (notLookup !== undefined) fail(`${notLookup.field} is no lookup and cannot refer to ${notLookup.refersTo}`);
  // A bulk read of more than 200 fields silently exports all of them, and id and Modified_Time are always among them. What one
  // query reads on older versions is less: `checkReadable` of crm-client knows.
  if (logged.length > 198) fail(`${logged.length} fields; a bulk read exports at most 198 beside id and Modified_Time`);
  return definition;
}
