import pg from 'pg';

/*
 * The server's functions, under other names; and functions of theirs that add an offset. `pg_proc` belongs to a database, so no other database of
 * the server is affected. Column defaults of tables that are created afterwards use the new ones, too.
 */
const makeSteppable = `
  create schema stepped;
  create table stepped.clock (ahead interval not null);
  insert into stepped.clock values ('0');
  grant usage on schema stepped to public;
  grant select on stepped.clock to public;
  alter function pg_catalog.now() rename to true_now;
  alter function pg_catalog.clock_timestamp() rename to true_clock_timestamp;
  create function pg_catalog.now() returns timestamptz language sql stable as 'select pg_catalog.true_now() + (select ahead from stepped.clock)';
  create function pg_catalog.clock_timestamp() returns timestamptz language sql volatile as 'select pg_catalog.true_clock_timestamp() + (select ahead from stepped.clock)'`;

/**
 * A test tool: lets the clock of one database be set, without privileges on its host. For a database that is thrown away, before the tables whose
 * defaults are to follow it are created; needs a superuser.
 */
export const letDatabaseBeStepped = (databaseUrl: string): Promise<void> => run(databaseUrl, makeSteppable);

/** Sets the clock of a database that {@link letDatabaseBeStepped} prepared. @param aheadMs how far ahead of the true time. */
export const setDatabaseAhead = (databaseUrl: string, aheadMs: number): Promise<void> => run(databaseUrl, `update stepped.clock set ahead = ${aheadMs} * interval '1 millisecond'`);

async function run(databaseUrl: string, statements: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await client.query(statements);
  } finally {
    await client.end();
  }
}
