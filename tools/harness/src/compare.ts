import { createInterface } from 'node:readline';

import pg from 'pg';
import { request } from 'undici';

/** One value that is not what the CRM says. */
export type Mismatch = { readonly table: string; readonly id: string; readonly column: string; readonly expected: unknown; readonly actual: unknown };

/** What a comparison found; the first few mismatches are listed, all are counted. */
export type Comparison = { readonly rows: number; readonly values: number; readonly mismatches: number; readonly examples: readonly Mismatch[] };

/** How a field of the truth compares with a column; written down here once more, apart from the product's own mapping. */
type Column = { readonly field: string; readonly column: string; readonly compare: 'text' | 'number' | 'instant' | 'list;' | 'list,' };

const EXAMPLES = 10;

/**
 * Compares every column of every row of a legacy table with the simulator's export of the truth. Nothing of the product's
 * own code is on the way: rows are read by a plain cursor and values compared by their meaning.
 */
export async function compareWithTruth({ databaseUrl, simulatorUrl, module, table, fields, deletedColumn, modifiedLaterByMs = 0 }: {
  databaseUrl: string;
  simulatorUrl: string;
  module: string;
  table: string;
  fields: readonly { readonly field: string; readonly column: string; readonly type: string; readonly kind: string }[];
  deletedColumn: string | null;
  modifiedLaterByMs?: number;
}): Promise<Comparison> {
  const columns = fields.map(({ field, column, type, kind }): Column => ({ field, column, compare: comparisonOf(type, kind) }));
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  const found = { rows: 0, values: 0, mismatches: 0, examples: [] as Mismatch[] };
  const report = (mismatch: Mismatch): void => {
    found.mismatches += 1;
    if (found.examples.length < EXAMPLES) found.examples.push(mismatch);
  };
  try {
    const alive = deletedColumn === null ? '' : `where ${deletedColumn} is null`;
    const rows = readRows(client, `select id::text as id, modified_time, ${columns.map(({ column }) => `"${column}"::text as "${column}"`).join(', ')} from ${table} ${alive} order by id`);
    const truth = truthOf(simulatorUrl, module);
    let row = await rows.next();
    let record = await truth.next();
    while (row.done !== true || record.done !== true) {
      const order = row.done === true ? 1 : record.done === true ? -1 : compareIds(row.value.id as string, record.value.id as string);
      if (order < 0) {
        report({ table, id: String(row.value?.id), column: 'id', expected: 'no row', actual: 'a row' });
        row = await rows.next();
      } else if (order > 0) {
        report({ table, id: String(record.value?.id), column: 'id', expected: 'a row', actual: 'no row' });
        record = await truth.next();
      } else {
        compareRow({ table, row: row.value ?? {}, record: record.value ?? {}, columns, found, report, modifiedLaterByMs });
        [row, record] = [await rows.next(), await truth.next()];
      }
    }
    if (deletedColumn !== null) await compareDeleted({ client, simulatorUrl, module, table, deletedColumn, report });
  } finally {
    await client.end();
  }
  return found;
}

type Row = Readonly<Record<string, unknown>>;

function compareRow({ table, row, record, columns, found, report, modifiedLaterByMs }: { table: string; row: Row; record: Row; columns: readonly Column[]; found: { rows: number; values: number }; report: (mismatch: Mismatch) => void; modifiedLaterByMs: number }): void {
  found.rows += 1;
  found.values += columns.length + 1;
  const id = String(record['id']);
  const modified = new Date(row['modified_time'] as Date | string).getTime();
  if (modified !== Date.parse(String(record['Modified_Time'])) + modifiedLaterByMs) report({ table, id, column: 'modified_time', expected: record['Modified_Time'], actual: row['modified_time'] });
  for (const { field, column, compare } of columns) {
    const expected = record[field] ?? null;
    const actual = row[column] ?? null;
    if (!isEqual(compare, expected, actual as string | null)) report({ table, id, column, expected, actual });
  }
}

function isEqual(compare: Column['compare'], expected: unknown, actual: string | null): boolean {
  if (actual === null || expected === null || expected === '') return actual === null && (expected === null || expected === '' || (Array.isArray(expected) && expected.length === 0));
  switch (compare) {
    case 'text':
      return textOf(expected) === actual;
    case 'number':
      return Number(expected) === Number(actual) && (typeof expected === 'number' || textOf(expected).replace(/^0+(?=\d)/, '') === actual);
    case 'instant':
      return Date.parse(textOf(expected)) === Date.parse(actual.replace(' ', 'T').replace(/([+-]\d\d)$/, '$1:00'));
    case 'list;':
      return (expected as unknown[]).join(';') === actual;
    case 'list,':
      return (expected as unknown[]).join(',') === actual;
  }
}

const textOf = (value: unknown): string => (typeof value === 'object' ? JSON.stringify(value) : `${value as string | number | boolean}`);

function comparisonOf(type: string, kind: string): Column['compare'] {
  if (kind === 'multiselect') return 'list;';
  if (kind === 'tags') return 'list,';
  if (type === 'timestamptz') return 'instant';
  return /^(?:bigint|integer|numeric)/.test(type) ? 'number' : 'text';
}

async function compareDeleted({ client, simulatorUrl, module, table, deletedColumn, report }: { client: pg.Client; simulatorUrl: string; module: string; table: string; deletedColumn: string; report: (mismatch: Mismatch) => void }): Promise<void> {
  const { body } = await request(`${simulatorUrl}/__simulator/deleted/${module}`);
  const deleted = new Map(((await body.json()) as { id: string; deleted_time: string }[]).map((it) => [it.id, Date.parse(it.deleted_time)]));
  const { rows } = await client.query<{ id: string; at: Date }>(`select id::text as id, ${deletedColumn} as at from ${table} where ${deletedColumn} is not null`);
  for (const { id, at } of rows) {
    const expected = deleted.get(id);
    if (expected !== at.getTime()) report({ table, id, column: deletedColumn, expected: expected === undefined ? 'alive' : new Date(expected), actual: at });
  }
}

async function* readRows(client: pg.Client, sql: string): AsyncGenerator<Row, undefined> {
  await client.query('begin');
  await client.query(`declare compared no scroll cursor for ${sql}`);
  for (;;) {
    const { rows } = await client.query<Row>('fetch 2000 from compared');
    if (rows.length === 0) break;
    yield* rows;
  }
  await client.query('commit');
  return undefined;
}

async function* truthOf(simulatorUrl: string, module: string): AsyncGenerator<Row, undefined> {
  const { body, statusCode } = await request(`${simulatorUrl}/__simulator/truth/${module}`);
  if (statusCode !== 200) throw new Error(`the simulator answered ${statusCode} for the truth of ${module}`);
  for await (const line of createInterface({ input: body, crlfDelay: Infinity })) if (line !== '') yield JSON.parse(line) as Row;
  return undefined;
}

const compareIds = (a: string, b: string): number => a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);
