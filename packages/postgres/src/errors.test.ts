import { describe, expect, test } from 'vitest';

import { isTransient, sqlState } from './errors.ts';

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

  test('of the network has no SQLSTATE, and may be gone later', () => {
    expect(isTransient(Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED', errno: -111 }))).toBe(true);
    expect(isTransient(new Error('Connection terminated unexpectedly'))).toBe(true);
    expect([isTransient(new TypeError('x is not a function')), isTransient('closed')]).toEqual([false, false]);
  });

  test('has a SQLSTATE where Postgres gave it one', () => {
    expect([sqlState(postgresError('23505')), sqlState(Object.assign(new Error(), { code: 'ECONNRESET' })), sqlState(null)]).toEqual(['23505', '', '']);
  });
});
