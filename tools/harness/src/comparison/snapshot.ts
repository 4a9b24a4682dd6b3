import { modules as allModules, type ModuleDefinition } from '@lockstep/modules';
import pg from 'pg';

import { asTexts, plainSession, quoted, tableOf } from './mapped-columns.ts';
import { readRows } from './rows.ts';

/** The rows of one table as texts, by key. A table without a primary key is keyed by the whole row. */
export type TableRows = { readonly columns: readonly string[]; readonly rows: ReadonlyMap<string, readonly (string | null)[]> };

/** A database at one moment, without Lockstep's own schema: rows by table, and under `definitions` tables, columns, constraints, triggers, views and so on. */
export type Snapshot = ReadonlyMap<string, TableRows>;

export const definitions = 'definitions';

type Table = { readonly name: string; readonly columns: readonly string[]; readonly key: readonly string[] };

/**
 * Reads everything that is not Lockstep's own. Meant for a database before its first load: every value is kept in memory.
 * @param only for a table, the keys that are wanted: afterwards a mapped table holds many more rows than before.
 */
export async function takeSnapshot(databaseUrl: string, modules: readonly ModuleDefinition[] = allModules, only: ReadonlyMap<string, ReadonlySet<string>> = new Map()): Promise<Snapshot> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await client.query(plainSession);
    const keyColumns = new Map(modules.map((module) => [tableOf(module), module.keyColumn]));
    const snapshot = new Map([[definitions, await readDefinitions(client)]]);
    for (const table of await tablesOf(client)) {
      const keyColumn = keyColumns.get(table.name);
      snapshot.set(table.name, await readTable(client, keyColumn === undefined ? table : { ...table, key: [keyColumn] }, only.get(table.name)));
    }
    return snapshot;
  } finally {
    await client.end();
  }
}

const foreignSchemas = `nspname not in ('lockstep', 'pg_catalog', 'information_schema') and nspname !~ '^pg_(toast|temp)'`;

/** Generated columns are left out: they follow from others. */
async function tablesOf(client: pg.Client): Promise<Table[]> {
  const { rows } = await client.query<{ schema: string; name: string; columns: string[]; key: string[] | null }>(`
    select nspname as schema, relname as name,
      array(select attname::text from pg_attribute where attrelid = c.oid and attnum > 0 and not attisdropped and attgenerated = '' order by attnum) as columns,
      (select array(select attname::text from unnest(i.indkey) k join pg_attribute a on a.attrelid = c.oid and a.attnum = k) from pg_index i where i.indrelid = c.oid and i.indisprimary) as key
    from pg_class c join pg_namespace n on n.oid = relnamespace
    where relkind in ('r', 'm') and ${foreignSchemas} order by 1, 2`);
  return rows.map(({ schema, name, columns, key }) => ({ name: `${quoted(schema)}.${quoted(name)}`, columns, key: key ?? columns }));
}

async function readTable(client: pg.Client, { name, columns, key }: Table, only: ReadonlySet<string> | undefined): Promise<TableRows> {
  const rows = new Map<string, readonly (string | null)[]>();
  const wanted = only === undefined ? '' : `where ${quoted(key[0] as string)}::text = any($1)`;
  for await (const row of readRows(client, `select ${asTexts(columns)} from ${name} ${wanted}`, only === undefined ? [] : [[...only]])) {
    const values = columns.map((column) => row[column] as string | null);
    const id = key.length === 1 ? (row[key[0] as string] as string) : JSON.stringify(key.map((column) => row[column]));
    rows.set(unused(rows, id), values);
  }
  return { columns, rows };
}

/** Rows that are the same are counted. */
function unused(rows: ReadonlyMap<string, unknown>, id: string): string {
  let name = id;
  for (let count = 2; rows.has(name); count += 1) name = `${id} #${count}`;
  return name;
}

async function readDefinitions(client: pg.Client): Promise<TableRows> {
  const { rows } = await client.query<{ object: string; definition: string }>(`
    with foreign_class as (select c.*, nspname from pg_class c join pg_namespace n on n.oid = relnamespace where ${foreignSchemas} and relkind in ('r', 'p', 'v', 'm', 'f', 'S'))
    select 'schema ' || nspname as object, concat_ws(' ', pg_get_userbyid(nspowner), nspacl::text) as definition from pg_namespace where ${foreignSchemas}
    union all select concat_ws(' ', 'relation', oid::regclass), concat_ws(' ', relkind, pg_get_userbyid(relowner), relacl::text, relrowsecurity, reloptions::text) from foreign_class
    union all select concat_ws(' ', 'column', c.oid::regclass, quote_ident(attname)), concat_ws(' ', format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated, attacl::text, pg_get_expr(adbin, adrelid))
      from foreign_class c join pg_attribute on attrelid = c.oid and attnum > 0 and not attisdropped left join pg_attrdef on adrelid = attrelid and adnum = attnum
    union all select concat_ws(' ', 'constraint', conrelid::regclass, quote_ident(conname)), concat_ws(' ', pg_get_constraintdef(k.oid), convalidated) from pg_constraint k join foreign_class c on c.oid = conrelid
    union all select concat_ws(' ', 'trigger', tgrelid::regclass, quote_ident(tgname)), concat_ws(' ', pg_get_triggerdef(t.oid), tgenabled) from pg_trigger t join foreign_class c on c.oid = tgrelid where not tgisinternal
    union all select concat_ws(' ', 'index', indexrelid::regclass), concat_ws(' ', pg_get_indexdef(indexrelid), indisvalid) from pg_index join foreign_class c on c.oid = indrelid
    union all select concat_ws(' ', 'view', oid::regclass), pg_get_viewdef(oid) from foreign_class where relkind in ('v', 'm')
    union all select concat_ws(' ', 'rule', ev_class::regclass, quote_ident(rulename)), pg_get_ruledef(r.oid) from pg_rewrite r join foreign_class c on c.oid = ev_class
    union all select concat_ws(' ', 'policy', polrelid::regclass, quote_ident(polname)), concat_ws(' ', polcmd, pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)) from pg_policy join foreign_class c on c.oid = polrelid
    union all select concat_ws(' ', 'function', p.oid::regprocedure), pg_get_functiondef(p.oid) from pg_proc p join pg_namespace n on n.oid = pronamespace where prokind in ('f', 'p') and ${foreignSchemas}`);
  return { columns: ['definition'], rows: new Map(rows.map(({ object, definition }) => [object, [definition]])) };
}
