import type { ModuleDefinition } from '@lockstep/modules';
import type pg from 'pg';
import { request } from 'undici';

import { fetchJson } from '../http.ts';
import { jsonLines } from './json-lines.ts';
import { asTexts, deletedColumnOf, type Difference, differencesOf, mappedColumns, quoted, tableOf, type Values } from './mapped-columns.ts';
import { readRows } from './rows.ts';

/** One value that is not what it has to be: the CRM's, or what stood there before. */
export type Mismatch = Difference & { readonly table: string; readonly id: string };

/** What a comparison found; `report` is called for each mismatch. */
export type Compared = { rows: number; values: number };

type Given = {
  readonly client: pg.Client;
  readonly simulatorUrl: string;
  readonly module: ModuleDefinition;
  /** Keys of rows that stood there before the first load: without a record they belong to others. */
  readonly earlierKeys: ReadonlySet<string>;
  readonly modifiedLaterByMs: number;
  readonly report: (mismatch: Mismatch) => void;
};

/**
 * Compares every mapped column of every row with the simulator's export of the truth. None of the product's code is on the way but the
 * module's definition: rows are read by a plain cursor, and values are compared by their meaning.
 */
export async function compareModule({ client, simulatorUrl, module, earlierKeys, modifiedLaterByMs, report }: Given): Promise<Compared> {
  const [columns, table, found] = [mappedColumns(module), tableOf(module), { rows: 0, values: 0 }];
  const deleted = await deletedTimes(simulatorUrl, module.apiName);
  const rows = rowsOf(client, module);
  const records = truthOf(simulatorUrl, module.apiName);
  let [row, record] = [await rows.next(), await records.next()];
  while (row.done !== true || record.done !== true) {
    const order = row.done === true ? 1 : record.done === true ? -1 : compareIds(keyOf(row.value), record.value['id'] as string);
    if (order < 0 && row.value !== undefined) {
      for (const difference of withoutRecord({ row: row.value, module, deleted, earlierKeys })) report({ table, id: keyOf(row.value), ...difference });
      row = await rows.next();
    } else if (order > 0 && record.value !== undefined) {
      report({ table, id: String(record.value['id']), column: module.keyColumn, expected: 'a row', actual: 'no row' });
      record = await records.next();
    } else if (row.value !== undefined && record.value !== undefined) {
      const id = keyOf(row.value);
      found.rows += 1;
      found.values += columns.length;
      for (const difference of [...differencesOf(columns, record.value, row.value, modifiedLaterByMs), ...markOf(module, row.value)]) report({ table, id, ...difference });
      [row, record] = [await rows.next(), await records.next()];
    }
  }
  return found;
}

const KEY = ' key';
const keyOf = (row: Values): string => row[KEY] as string;

function rowsOf(client: pg.Client, module: ModuleDefinition): AsyncGenerator<Values, undefined> {
  const deletedColumn = deletedColumnOf(module);
  const columns = [...mappedColumns(module).map(({ column }) => column), ...(deletedColumn === null ? [] : [deletedColumn])];
  return readRows(client, `select ${quoted(module.keyColumn)}::text as "${KEY}", ${asTexts(columns)} from ${tableOf(module)} order by ${quoted(module.keyColumn)}`);
}

/** A live record's row bears no mark. */
function markOf(module: ModuleDefinition, row: Values): Difference[] {
  const column = deletedColumnOf(module);
  return column === null || row[column] === null ? [] : [{ column, expected: null, actual: row[column] }];
}

/** What is wrong with a row that no live record explains: a deleted record's bears its mark, and one that stood there before belongs to others. */
function withoutRecord({ row, module, deleted, earlierKeys }: { row: Values; module: ModuleDefinition; deleted: ReadonlyMap<string, string> } & Pick<Given, 'earlierKeys'>): Difference[] {
  const [key, column] = [keyOf(row), deletedColumnOf(module)];
  const deletedTime = deleted.get(key);
  if (deletedTime === undefined && earlierKeys.has(key)) return [];
  if (deletedTime === undefined || column === null) return [{ column: module.keyColumn, expected: 'no row', actual: 'a row' }];
  return differencesOf([{ field: 'deleted', column, compare: 'instant' }], { deleted: deletedTime }, row);
}

/** @returns when each deleted record was, by id. */
async function deletedTimes(simulatorUrl: string, module: string): Promise<ReadonlyMap<string, string>> {
  const deleted = await fetchJson<{ id: string; deleted_time: string }[]>(`${simulatorUrl}/__simulator/deleted/${module}`);
  return new Map(deleted.map((one) => [one.id, one.deleted_time]));
}

async function* truthOf(simulatorUrl: string, module: string): AsyncGenerator<Values, undefined> {
  const { body, statusCode } = await request(`${simulatorUrl}/__simulator/truth/${module}`);
  if (statusCode !== 200) throw new Error(`the simulator answered ${statusCode} for the truth of ${module}`);
  return yield* jsonLines<Values>(body);
}

/** As Postgres orders bigint. */
function compareIds(a: string, b: string): number {
  const difference = BigInt(a) - BigInt(b);
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}
