import { describe, expect, test } from 'vitest';

import { isOfRow, isTransient, sqlState } from './errors.ts';

const postgresError = (code: string): Error => Object.assign(new Error('as Postgres says it'), { code });

describe('an error', () => {
  test.each([
    ['a deadlock', '40P01'],
    ['a serialization failure', '40001'],
    ['a lock that is not to be had', '55P03'],
    ['a full disk', '53100'],
    ['no memory', '53200'],
    ['too many connections', '53300'],
    ['a statement that ran too long', '57014'],
    ['a shutdown', '57P01'],
    ['a crash of the server', '57P02'],
    ['a server that is starting', '57P03'],
    ['a lost connection', '08006'],
    ['no connection', '08001'],
    ['a disk that fails', '58030'],
    ['a server that only reads for now', '25006'],
    ['a password that is not valid', '28P01'],
    ['a role that may not log in', '28000'],
    ['a database that is not there', '3D000'],
    ['a transaction that was idle for too long', '25P03'],
    ['a transaction that took too long', '25P04'],
    ['a prepared statement that is gone', '26000'],
    ['a prepared statement of another session', '42P05'],
    ['a database that was dropped', '57P04'],
    ['a session that was idle for too long', '57P05'],
    ['a configuration that cannot be read', 'F0000'],
    ['a foreign server that is away', 'HV00N'],
  ])('that is %s (%s) may be gone later', (_, code) => {
    expect(isTransient(postgresError(code))).toBe(true);
  });

  test.each([
    ['a value that does not fit', '22003'],
    ['a unique value that is taken', '23505'],
    ['a missing parent', '23503'],
    ['an exclusion', '23P01'],
    ['a missing column', '42703'],
    ['a missing right', '42501'],
    ['an aborted transaction', '25P02'],
    ['an error of our own code', 'XX000'],
  ])('that is %s (%s) stays', (_, code) => {
    expect(isTransient(postgresError(code))).toBe(false);
  });

  test.each([
    ['a value that does not fit', '22003'],
    ['a constraint', '23514'],
    ['a trigger that raises', 'P0001'],
    ['a SQLSTATE of the application', 'LX001'],
    ['an index row that is too large', '54000'],
    ['WITH CHECK OPTION', '44000'],
    ['a row that a trigger changed already', '27000'],
    ['a CASE without a branch', '20000'],
    ['an external routine', '38000'],
    ['a trigger protocol', '39P01'],
    ['a damaged page', 'XX001'],
  ])('that is %s (%s) may be of one row', (_, code) => {
    expect([isOfRow(postgresError(code)), isTransient(postgresError(code))]).toEqual([true, false]);
  });

  test.each(['08006', '28P01', '42501', '42703', '42804', '0A000', '25P02', '26000', '3D000', '40P01', '53100', '55P03', '57014', 'XX000'])('of the SQLSTATE %s is not of one row', (code) => {
    expect(isOfRow(postgresError(code))).toBe(false);
  });

  test('of a name or a query is of the row where the statement itself was parsed', () => {
    expect([isOfRow(postgresError('42704')), isOfRow(Object.assign(postgresError('42704'), { position: '8' }))]).toEqual([true, false]);
  });

  test('that a row policy or RAISE causes is of the row, whatever its SQLSTATE', () => {
    const from = (code: string, routine: string) => Object.assign(postgresError(code), { routine });
    expect([isOfRow(from('42501', 'ExecWithCheckOptions')), isOfRow(from('42501', 'aclcheck_error')), isOfRow(from('53100', 'exec_stmt_raise'))]).toEqual([true, false, true]);
  });

  test('of the network has no SQLSTATE, and may be gone later', () => {
    expect(isTransient(Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED', errno: -111 }))).toBe(true);
    expect(isTransient(new Error('Connection terminated unexpectedly'))).toBe(true);
    expect([isTransient(new TypeError('x is not a function')), isTransient('closed')]).toEqual([false, false]);
  });

  test('has a SQLSTATE where Postgres gave it one', () => {
    expect([sqlState(postgresError('23505')), sqlState(Object.assign(new Error(), { code: 'ECONNRESET' })), sqlState(null)]).toEqual(['23505', '', '']);
  });
});
