import { createTestDatabase, type TestDatabase } from '@lockstep/local-stack';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { bulkRuns } from './bulk-runs.ts';
import { connect, type Database } from './database.ts';
import { migrate } from './migrate.ts';
import { readFreshness } from './freshness.ts';

const hostile: Readonly<Record<string, string>> = {
  timezone: `'Europe/Berlin'`,
  datestyle: `'SQL, DMY'`,
  intervalstyle: `'sql_standard'`,
  extra_float_digits: '-10',
  bytea_output: `'escape'`,
  array_nulls: 'off',
  standard_conforming_strings: 'off',
  transform_null_equals: 'on',
  quote_all_identifiers: 'on',
  restrict_nonsystem_relation_kind: `'view'`,
  default_transaction_isolation: `'serializable'`,
  default_transaction_read_only: 'on',
  exit_on_error: 'on',
  session_replication_role: `'replica'`,
  statement_timeout: `'5s'`,
  lock_timeout: `'5s'`,
  idle_in_transaction_session_timeout: `'5s'`,
  idle_session_timeout: `'5s'`,
  synchronous_commit: 'off',
  search_path: 'shadow, public, pg_catalog',
};

let testDatabase: TestDatabase;
let db: Database;

beforeAll(async () => {
  testDatabase = await createTestDatabase({ legacySchema: true });
  const admin = new pg.Client({ connectionString: testDatabase.url });
  await admin.connect();
  const name = new URL(testDatabase.url).pathname.slice(1);
  await admin.query(`
    create schema shadow;
    create function shadow.now() returns timestamptz language sql as $$ select timestamptz '1900-01-01' $$;
    create function shadow.wrong(bigint, bigint) returns boolean language sql as 'select false';
    create operator shadow.= (leftarg = bigint, rightarg = bigint, function = shadow.wrong);
    create table shadow.pg_class (oid oid);
    create domain shadow.text as pg_catalog.varchar(1)`);
  for (const [setting, value] of Object.entries(hostile)) await admin.query(`alter database ${name} set ${setting} = ${value}`);
  await admin.end();
  db = await connect({ url: testDatabase.url, poolSize: 2 });
});
afterAll(async () => {
  await db.close();
  await testDatabase.drop();
});

const one = async (sql: string): Promise<unknown> => Object.values((await db.pool.query<Record<string, unknown>>(sql)).rows[0] ?? {})[0];

describe('a connection to a database with settings of its own', () => {
  test('has ours', async () => {
    const { rows } = await db.pool.query<{ name: string; value: string }>('select n as name, current_setting(n) as value from unnest($1::text[]) n', [Object.keys(hostile)]);
    expect(Object.fromEntries(rows.map(({ name, value }) => [name, value]))).toEqual({
      timezone: 'UTC', datestyle: 'ISO, YMD', intervalstyle: 'postgres', extra_float_digits: '1', bytea_output: 'hex', array_nulls: 'on', standard_conforming_strings: 'on',
      transform_null_equals: 'off', quote_all_identifiers: 'off', restrict_nonsystem_relation_kind: '', default_transaction_isolation: 'read committed', default_transaction_read_only: 'off', exit_on_error: 'off', session_replication_role: 'origin',
      statement_timeout: '0', lock_timeout: '0', idle_in_transaction_session_timeout: '5min', idle_session_timeout: '0', synchronous_commit: 'on',
      search_path: 'shadow, public',
    });
  });

  test('means the built-in functions, operators and types, and still finds the names of the legacy application', async () => {
    expect(await one('select now() > timestamptz \'2000-01-01\' and 1::bigint = 1::bigint')).toBe(true);
    expect(await one('select \'long\'::text')).toBe('long');
    expect(await one('select count(*)::int from leads')).toBe(0);
  });

  test('serves the migrations, the entities and the views', async () => {
    await migrate(db, [{ slug: 'leads', apiName: 'Leads' }]);
    await migrate(db, [{ slug: 'leads', apiName: 'Leads' }]);
    expect(await bulkRuns(db).openPages()).toEqual([]);
    expect(await readFreshness(db)).toEqual(expect.anything());
  });
});

test('where triggers are switched off and may not be switched on again, there is no connection', async () => {
  const admin = new pg.Client({ connectionString: testDatabase.url });
  await admin.connect();
  await admin.query('set default_transaction_read_only = off; set statement_timeout = 0');
  await admin.query(`create role without_triggers_${process.pid} login password 'p'`);
  const url = new URL(testDatabase.url);
  [url.username, url.password] = [`without_triggers_${process.pid}`, 'p'];
  const restricted = await connect({ url: url.href, poolSize: 2 });
  await expect(restricted.ping()).rejects.toMatchObject({ code: '42501' });
  await restricted.close();
  await admin.query(`drop role without_triggers_${process.pid}`);
  await admin.end();
});
