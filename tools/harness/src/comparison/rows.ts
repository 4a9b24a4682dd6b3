import type pg from 'pg';

import type { Values } from './mapped-columns.ts';

/** Reads the rows of a query by a cursor, in a transaction of its own. */
export async function* readRows(client: pg.Client, sql: string, parameters: readonly unknown[] = []): AsyncGenerator<Values, undefined> {
  await client.query('begin');
  await client.query(`declare compared no scroll cursor for ${sql}`, [...parameters]);
  for (;;) {
    const { rows } = await client.query<Values>('fetch 2000 from compared');
    if (rows.length === 0) break;
    yield* rows;
  }
  await client.query('commit');
  return undefined;
}
