import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import pg from 'pg';

import { fetchJson } from './http.ts';

const script = join(import.meta.dirname, 'plant-foreign.sql');

/** How many records of each module have a row before the first load. */
const ROWS_OF_RECORDS = 40;

/**
 * Fills the legacy database as its company would have: foreign columns with values, rows that no record of the CRM explains, rows of records that are yet
 * to be loaded, a view, and tables of a second schema with foreign keys and triggers that note whatever touches them. Once per database.
 */
export async function plantForeign({ databaseUrl, simulatorUrl }: { databaseUrl: string; simulatorUrl: string }): Promise<void> {
  const [leads, deals, products] = await Promise.all(['Leads', 'Deals', 'Products'].map((module) => fetchJson<string[]>(`${simulatorUrl}/__simulator/ids/${module}?first=${ROWS_OF_RECORDS}`)));
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await client.query(`select set_config('planted.leads', $1, false), set_config('planted.deals', $2, false), set_config('planted.products', $3, false)`, [leads, deals, products].map((ids) => `{${(ids ?? []).join(',')}}`));
    await client.query(await readFile(script, 'utf8'));
  } finally {
    await client.end();
  }
}
