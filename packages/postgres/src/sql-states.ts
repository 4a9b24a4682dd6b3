/*
 * Every SQLSTATE of Postgres (Appendix A) has one of these kinds, by its class unless a code of it is an exception:
 *
 *   outside   connection, server, configuration or another session: the same work succeeds once that is over. It is waited for.
 *   row       a value or row may cause it, so the rest of the batch may be applied without it.
 *   at run    the same, where Postgres raises it at run time. With a position in the statement it is a defect: the parser found it.
 *   defect    a statement that is wrong, or a table that is not what it was taken for.
 *
 * Classes that Postgres does not define are raised by functions of the application only: `row`.
 */
export type StateKind = 'outside' | 'row' | 'at run' | 'defect';

const classes: Readonly<Record<string, StateKind>> = {
  '00': 'defect', // successful completion: never an error
  '01': 'row', // warning; raised as an error by functions only
  '02': 'row', // no data
  '03': 'defect', // statement not yet complete
  '08': 'outside', // connection
  '09': 'row', // triggered action
  '0A': 'defect', // feature not supported
  '0B': 'defect', // transaction initiation
  '0F': 'row', // locator
  '0L': 'defect', // grantor
  '0P': 'defect', // role specification
  '0Z': 'row', // diagnostics
  '10': 'row', // XQuery
  '20': 'row', // case not found
  '21': 'row', // cardinality violation
  '22': 'row', // data exception
  '23': 'row', // integrity constraint violation
  '24': 'defect', // cursor state
  '25': 'defect', // transaction state
  '26': 'outside', // statement name: a pooler has given the session to another, or it was reset
  '27': 'row', // triggered data change
  '28': 'outside', // authorization
  '2B': 'defect', // dependent privileges
  '2D': 'row', // transaction termination, by a function
  '2F': 'row', // SQL routine
  '34': 'defect', // cursor name
  '38': 'row', // external routine
  '39': 'row', // external routine invocation
  '3B': 'defect', // savepoint
  '3D': 'outside', // database name
  '3F': 'at run', // schema name, such as a text cast to regnamespace
  '40': 'outside', // transaction rollback
  '42': 'defect', // syntax or access rule
  '44': 'row', // WITH CHECK OPTION
  '53': 'outside', // insufficient resources
  '54': 'row', // program limit
  '55': 'outside', // prerequisite state: locks, objects in use
  '57': 'outside', // operator intervention
  '58': 'outside', // system
  '72': 'outside', // snapshot
  F0: 'outside', // configuration file
  HV: 'row', // foreign data
  P0: 'row', // PL/pgSQL
  XX: 'defect', // internal
};

const codes: Readonly<Record<string, StateKind>> = {
  '25006': 'outside', // read-only for now: a standby, or a full disk
  '25P03': 'outside', // idle_in_transaction_session_timeout
  '25P04': 'outside', // transaction_timeout
  // What a text of the row names, where an expression of the table reads it as a name (regclass, regproc, regconfig), or as a query.
  '42601': 'at run',
  '42602': 'at run',
  '42622': 'at run',
  '42704': 'at run',
  '42725': 'at run',
  '42883': 'at run',
  '42P01': 'at run',
  '42P05': 'outside', // prepared statement exists: a pooler has given us a session of another client
  HV00B: 'outside', // a foreign server's handle
  HV00N: 'outside', // a foreign server that cannot be reached
  HV001: 'outside', // out of memory
  XX001: 'row', // a damaged page: the rows on it
  XX002: 'row', // a damaged index: the values on that page
};

/** What may cause an error of this SQLSTATE. */
export const kindOfState = (state: string): StateKind => codes[state] ?? classes[state.slice(0, 2)] ?? 'row';
