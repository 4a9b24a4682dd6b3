/*
 * A database or a role may have settings of its own (`alter role … set …`), made for another application. What could change a value, a
 * statement's meaning or whether it ever succeeds is set on each connection.
 *
 * It is sent as a statement, and not as `options` of the start-up message: poolers refuse those. All of it takes one round trip, in the place
 * of the one that switched notices off.
 */
const settings: Readonly<Record<string, string>> = {
  // How values are read and written.
  timezone: 'UTC',
  datestyle: 'ISO, YMD',
  intervalstyle: 'postgres',
  extra_float_digits: '1',
  bytea_output: 'hex',
  client_encoding: 'UTF8',
  array_nulls: 'on',
  standard_conforming_strings: 'on',
  transform_null_equals: 'off',
  quote_all_identifiers: 'off',
  restrict_nonsystem_relation_kind: '',
  // How transactions behave.
  default_transaction_isolation: 'read committed',
  default_transaction_read_only: 'off',
  default_transaction_deferrable: 'off',
  exit_on_error: 'off',
  // A time-out that a large batch exceeds would let it fail at every attempt. A process that stops answering holds locks for five minutes at most.
  statement_timeout: '0',
  lock_timeout: '0',
  transaction_timeout: '0',
  idle_session_timeout: '0',
  idle_in_transaction_session_timeout: '5min',
  client_min_messages: 'warning',
};

const values = Object.entries(settings).map(([name, value]) => `('${name}', '${value}')`).join(', ');

/**
 * Statements that pin the settings of a new connection.
 *
 * The search path loses `pg_catalog` and `pg_temp`, where it lists them: Postgres then searches both before all others, so that nothing
 * shadows a built-in function, operator or type, or a stage. The rest stays as it was: triggers and defaults of the legacy application
 * resolve their names by it.
 *
 * Only a superuser may set `session_replication_role`; where a role's own setting switches triggers and foreign keys off and cannot be set
 * back, the connection fails. `synchronous_commit` is raised from `off` only.
 */
export const pinSettings = `
  select pg_catalog.set_config('search_path', pg_catalog.ltrim(pg_catalog.regexp_replace(pg_catalog.current_setting('search_path'), '(^|,) *"?pg_(catalog|temp)"? *(?=,|$)', '', 'g'), ', '), false);
  select set_config(s.name, s.value, false) from (values ${values}) s (name, value) where current_setting(s.name, true) is not null;
  select set_config('session_replication_role', 'origin', false) where current_setting('session_replication_role') <> 'origin';
  select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off'`;
