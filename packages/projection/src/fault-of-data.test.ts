import { describe, expect, test } from 'vitest';

import { faultOfData, fitsNeverIn } from './fault-of-data.ts';

const causeOf = (where: string): string | undefined => faultOfData(Object.assign(new Error('refused'), { code: '22P02', severity: 'ERROR', where }))?.cause;

describe('the cause of a value that Postgres refuses', () => {
  test.each([
    'COPY leads, line 1, column lead_score: "x"',
    'COPY leads, line 12, column lead_score: null input',
    'COPY leads, Zeile 1, Spalte lead_score: »x«',
    'COPY leads, ligne 1, colonne lead_score : « x »',
  ])('names its column, in whatever language the server speaks: %s', (where) => expect(causeOf(where)).toBe('lead_score: refused'));

  test.each(['COPY leads, line 1: "5725\tthe column secret: x"', 'COPY leads, Zeile 1: »5725\tcolumn secret«', 'SQL statement "select column secret"'])(
    'names no column, and nothing of the row, where Postgres names none: %s',
    (where) => expect(causeOf(where)).toBe('refused'),
  );

  test('names its column, and that a function of the table refused it, which may yet take it', () => {
    const where = 'PL/pgSQL function check_it(text) line 3 at RAISE\nCOPY leads, line 1, column lead_score: "x"';
    expect(faultOfData(Object.assign(new Error('refused'), { code: '22P02', where }))).toEqual({ code: 'P0001', cause: 'lead_score: refused (SQLSTATE 22P02)' });
  });
});

test.each([
  ['P0002', 'PL/pgSQL function f() line 1 at SQL statement', true],
  ['55000', 'PL/pgSQL-Funktion f() Zeile 1 bei RAISE', true],
  ['LX001', 'SQL function "f" statement 1', true],
  ['55000', 'fonction PL/pgSQL f(), ligne 1 à RAISE', true],
  ['LX001', 'función SQL «f» en la sentencia 1', true],
  ['55000', 'COPY leads, line 1, column note: "PL/pgSQL function"', false],
  ['42501', undefined, false],
  ['55000', undefined, false],
  ['40P01', 'PL/pgSQL function f() line 1 at SQL statement', false],
  ['57014', 'PL/pgSQL function f() line 1 at SQL statement', false],
  ['53100', 'PL/pgSQL function f() line 1 at SQL statement', false],
])('SQLSTATE %s in %s is the row\'s own fault: %s', (code, where, isOwn) => {
  expect(faultOfData(Object.assign(new Error('refused'), { code, where })) !== null).toBe(isOwn);
});

test.each([
  ['44000', undefined, '44000'],
  ['42501', 'ExecWithCheckOptions', '42501'],
  ['54000', undefined, '54000'],
  ['53100', 'exec_stmt_raise', '53100'],
  ['XX001', undefined, 'XX001'],
])('SQLSTATE %s of %s is one of a row', (code, routine, noted) => {
  expect(faultOfData(Object.assign(new Error('refused'), { code, routine }))?.code).toBe(noted);
});

const table = { unsteadyChecks: ['by_time'] };
test.each(['22P02', '23502', '23514', '54000', '42601', 'VALUE_NOT_EXACT', 'EVENT_MALFORMED'])('%s is a fault of the data itself', (code) => expect(fitsNeverIn(table, { code, cause: '' })).toBe(true));
test.each(['23503', '23505', 'P0001', '44000', '42501', '27000', 'XX001', '55P03', '57014'])('%s may yet fit', (code) => expect(fitsNeverIn(table, { code, cause: '' })).toBe(false));
test('what a check refuses that may take it later may yet fit', () => {
  expect(['by_time', 'by_row'].map((check) => fitsNeverIn(table, { code: '23514', cause: '', check }))).toEqual([false, true]);
});

test('a syntax error of a statement is not the data\'s', () => {
  const error = (position?: string) => Object.assign(new Error('syntax error'), { code: '42601', position });
  expect([faultOfData(error('12')), faultOfData(error())?.code]).toEqual([null, '42601']);
});
