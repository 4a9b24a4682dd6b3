import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';

const script = join(import.meta.dirname, 'legacy-schema.sql');

/**
 * Creates the example legacy schema: the tables Lockstep writes to (`leads`, `deals`, `products`), with the columns, the view and
 * the tables of the legacy application. Repeating it changes nothing.
 */
export async function applyLegacySchema(databaseUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl, connectionTimeoutMillis: 10_000 });
  await client.connect();
  try {
    await client.query(await readFile(script, 'utf8'));
  } finally {
    await client.end();
  }
}
