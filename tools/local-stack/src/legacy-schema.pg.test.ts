import { moduleByName, modules } from '@lockstep/modules';
import type { ModuleDefinition } from '@lockstep/modules';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { applyLegacySchema } from './legacy-schema.ts';
import { createTestDatabase } from './test-database.ts';
import type { TestDatabase } from './test-database.ts';

let database: TestDatabase;
let client: pg.Client;

beforeAll(async () => {
  database = await createTestDatabase({ legacySchema: true });
  client = new pg.Client({ connectionString: database.url });
  await client.connect();
});

afterAll(async () => {
  await client.end();
  await database.drop();
});

/** Column name to type, as Postgres writes types. */
async function columnsOf(table: string): Promise<Record<string, string>> {
  const { rows } = await client.query<{ name: string; type: string }>(
    `select attname as name, format_type(atttypid, atttypmod) as type from pg_attribute where attrelid = $1::regclass and attnum > 0 and not attisdropped`,
    [table],
  );
  return Object.fromEntries(rows.map(({ name, type }) => [name, type]));
}

/** The columns a module is mapped to, with the types as Postgres writes them. */
function mappedColumns(module: ModuleDefinition): Record<string, string> {
  const aliases = (type: string): string => type.replace('timestamptz', 'timestamp with time zone').replace('varchar', 'character varying');
  const deleted = module.onDelete.action === 'mark' ? { [module.onDelete.deletedColumn]: aliases('timestamptz') } : {};
  const fields = Object.fromEntries(module.fields.map(({ column, type }) => [column, aliases(type)]));
  return { [module.keyColumn]: 'bigint', [module.modifiedTimeColumn]: aliases('timestamptz'), ...deleted, ...fields };
}

const ownColumns: Record<string, string[]> = { Leads: ['account_manager', 'credit_limit'], Deals: ['invoice_state', 'invoiced_amount'], Products: ['warehouse_bin'] };

describe('the example legacy schema', () => {
  test.each(modules.map((module) => module.apiName))('has exactly the mapped columns of %s, and its own beside them', async (apiName) => {
    const module = moduleByName(apiName) as ModuleDefinition;
    const columns = await columnsOf(`${module.table.schema}.${module.table.name}`);
    expect(columns).toMatchObject(mappedColumns(module));
    const own = Object.keys(columns).filter((name) => !(name in mappedColumns(module)));
    expect(own.toSorted()).toEqual(ownColumns[apiName]);
  });

  test('can be applied again without losing a row', async () => {
    await client.query(`insert into leads (id, last_name) values (1, 'Ng')`);
    await applyLegacySchema(database.url);
    const { rows } = await client.query('select id, last_name, credit_limit, account_manager from open_leads');
    expect(rows).toEqual([{ id: '1', last_name: 'Ng', credit_limit: '1000.00', account_manager: null }]);
  });

  test('keeps a product that has reviews', async () => {
    await client.query(`insert into products (id) values (1)`);
    await client.query(`insert into product_reviews (product_id, stars) values (1, 5)`);
    await expect(client.query('delete from products where id = 1')).rejects.toMatchObject({ code: '23503' });
  });
});
