import type { ModuleDefinition } from '@lockstep/modules';
import pg from 'pg';

import type { Mismatch } from './compare-module.ts';
import { asTexts, plainSession, quoted, tableOf, writtenColumns } from './mapped-columns.ts';
import { readRows } from './rows.ts';
import { type Snapshot, type TableRows, takeSnapshot } from './snapshot.ts';

/** What belongs to others, compared before and after; the first few differences are listed, all are counted. */
export type Untouched = { readonly tables: number; readonly rows: number; readonly values: number; readonly differences: number; readonly examples: readonly Mismatch[] };

/** A mapped table as far as others own it: columns that Lockstep writes, which keys are records of the CRM, and whose rows were removed for a while. */
export type Mapped = { readonly keyColumn: string; readonly written: ReadonlySet<string>; readonly records: ReadonlySet<string>; readonly removed: ReadonlySet<string> };

/**
 * Compares what is not the CRM's with what it was: foreign columns and foreign rows of the mapped tables, every other table, and all definitions.
 * @param records by module, the ids of all records of the CRM, deleted ones included, and of those that were deleted at any time: where a deletion removes the row,
 * a restored record's is a new one.
 */
export async function compareUntouched({ databaseUrl, before, modules, records, report }: { databaseUrl: string; before: Snapshot; modules: readonly ModuleDefinition[]; records: ReadonlyMap<string, { readonly all: ReadonlySet<string>; readonly deleted: ReadonlySet<string> }>; report: (mismatch: Mismatch) => void }): Promise<Omit<Untouched, 'differences' | 'examples'>> {
  const mapped = new Map(modules.map((module) => [tableOf(module), mappedOf(module, records.get(module.apiName))]));
  const keys = new Map(modules.map((module) => [tableOf(module), new Set(before.get(tableOf(module))?.rows.keys())]));
  const after = await takeSnapshot(databaseUrl, modules, keys);
  for (const difference of differencesBetween(before, after, mapped)) {
    // A row that was removed and inserted again has the defaults.
    if (mapped.get(difference.table)?.removed.has(difference.id) === true) keys.get(difference.table)?.delete(difference.id);
    else report(difference);
  }
  await reportFilledColumns({ databaseUrl, mapped, keys, report });
  const tables = [...before.values()];
  return { tables: tables.length, rows: tables.reduce((sum, { rows }) => sum + rows.size, 0), values: tables.reduce((sum, { rows, columns }) => sum + rows.size * columns.length, 0) };
}

function mappedOf(module: ModuleDefinition, records: { readonly all: ReadonlySet<string>; readonly deleted: ReadonlySet<string> } | undefined): Mapped {
  const none = new Set<string>();
  return { keyColumn: module.keyColumn, written: writtenColumns(module), records: records?.all ?? none, removed: module.onDelete.action === 'remove' ? (records?.deleted ?? none) : none };
}

/** @returns every value of `before` that is another one in `after`, and every row that came or went, but for what Lockstep may write. */
function differencesBetween(before: Snapshot, after: Snapshot, mapped: ReadonlyMap<string, Mapped> = new Map()): Mismatch[] {
  return [...new Set([...before.keys(), ...after.keys()])].flatMap((table) => {
    const [old, current] = [before.get(table), after.get(table)];
    if (old === undefined || current === undefined) return [{ table, id: '*', column: '*', expected: old === undefined ? 'no table' : 'a table', actual: old === undefined ? 'a table' : 'no table' }];
    return differencesOfTable(table, old, current, mapped.get(table));
  });
}

function differencesOfTable(table: string, old: TableRows, current: TableRows, mapped: Mapped | undefined): Mismatch[] {
  const found: Mismatch[] = [];
  for (const id of new Set([...old.rows.keys(), ...current.rows.keys()])) {
    const [expected, actual] = [old.rows.get(id), current.rows.get(id)];
    const isRecord = mapped?.records.has(id) === true;
    // A record's row may be removed; that it is there while the record lives is compared with the CRM.
    if (expected === undefined || actual === undefined) {
      if (!isRecord) found.push({ table, id, column: mapped?.keyColumn ?? '*', expected: expected === undefined ? 'no row' : 'a row', actual: actual === undefined ? 'no row' : 'a row' });
      continue;
    }
    for (const [at, column] of old.columns.entries()) {
      if (isRecord && mapped.written.has(column)) continue;
      const value = actual[current.columns.indexOf(column)];
      if (value !== expected[at]) found.push({ table, id, column, expected: expected[at], actual: value });
    }
  }
  return found;
}

/** In rows that Lockstep inserted, foreign columns hold their defaults. Defaults that are no constants cannot be compared. */
async function reportFilledColumns({ databaseUrl, mapped, keys, report }: { databaseUrl: string; mapped: ReadonlyMap<string, Mapped>; keys: ReadonlyMap<string, ReadonlySet<string>>; report: (mismatch: Mismatch) => void }): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await client.query(plainSession);
    for (const [table, { keyColumn, written }] of mapped) {
      const foreign = (await defaultsOf(client, table)).filter(({ column }) => !written.has(column));
      if (foreign.length === 0) continue;
      const isFilled = foreign.map(({ column, value }) => `${quoted(column)}::text is distinct from (${value})::text`).join(' or ');
      const rows = readRows(client, `select ${quoted(keyColumn)}::text as " key", ${asTexts(foreign.map(({ column }) => column))}, ${foreign.map(({ value, type }, at) => `(${value})::${type}::text as " ${at}"`).join(', ')} from ${table} where not (${quoted(keyColumn)}::text = any($1)) and (${isFilled})`, [[...(keys.get(table) ?? [])]]);
      for await (const row of rows) {
        for (const [at, { column }] of foreign.entries()) if (row[column] !== row[` ${at}`]) report({ table, id: String(row[' key']), column, expected: row[` ${at}`], actual: row[column] });
      }
    }
  } finally {
    await client.end();
  }
}

async function defaultsOf(client: pg.Client, table: string): Promise<{ column: string; value: string; type: string }[]> {
  const { rows } = await client.query<{ column: string; value: string; type: string }>(
    `select attname::text as column, coalesce(pg_get_expr(adbin, adrelid), 'null') as value, format_type(atttypid, atttypmod) as type
     from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum
     where attrelid = $1::regclass and attnum > 0 and not attisdropped and attgenerated = '' and attidentity = ''`,
    [table],
  );
  return rows.filter(({ value }) => /^(?:null|true|false|-?[\d.]+|'(?:[^']|'')*'::[\w "]+(?:\([\d,]+\))?(?:\[\])?)$/i.test(value));
}
