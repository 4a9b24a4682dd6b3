import { coverageOf, leads } from '@lockstep/modules';
import { multiSelectReader } from '@lockstep/record-log';
import { describe, expect, test } from 'vitest';

import { rowReader } from './row-reader.ts';

const { fields } = coverageOf(leads);
const header = ['Id', ...fields, 'Modified_Time'];
const span = { lowerMs: 0, upperMs: 4_000_000_000_000 };
const AT = '2026-05-04T10:00:00+05:30';
const row = (id: string, modified = AT, values: Record<string, string> = {}): string[] => [id, ...fields.map((field) => values[field] ?? ''), modified];
const readerOf = (names: readonly string[]) => rowReader(leads, names, { span });

describe('a header', () => {
  test.each([
    ['a mapped column twice', [...header, 'Company']],
    ['id and Id', [...header, 'id']],
    ['Modified_Time twice', [...header, 'Modified_Time']],
  ])('with %s is refused: which of them holds the value?', (_, names) => {
    expect(() => readerOf(names)).toThrow(expect.objectContaining({ code: 'BULK_COLUMNS_AMBIGUOUS' }));
  });

  test.each([
    ['a space around a name', header.map((name) => (name === 'Company' ? ' Company' : name))],
    ['a name in another case', header.map((name) => (name === 'Company' ? 'company' : name))],
    ['a damaged name', header.map((name) => (name === 'Modified_Time' ? 'Modified_Tim' : name))],
  ])('with %s lacks the column', (_, names) => {
    expect(() => readerOf(names)).toThrow(expect.objectContaining({ code: 'BULK_COLUMNS_MISSING' }));
  });

  test('may hold columns twice that are not read', () => expect(readerOf([...header, 'Other', 'Other'])(row('1'))).toMatchObject({ id: '1' }));
});

describe('a row is named and left out', () => {
  test.each(['', '0', '007', '-1', '1.0', ' 1', 'Id', '1e3', '9223372036854775808', '12345678901234567890'])('with the id %j', (id) => {
    expect(readerOf(header)(row(id))).toMatchObject({ problem: expect.stringContaining('id') as string });
  });

  test.each(['', '2026-05-04', '2026-02-30T10:00:00Z', '2026-05-04T10:00:00', '2026-05-04T10:00:00Z\r', '0001-01-01T00:00:00+05:30'])('with the Modified_Time %j', (modified) => {
    expect(readerOf(header)(row('1', modified))).toMatchObject({ id: '1', problem: expect.stringContaining('Modified_Time') as string });
  });
});

test('a multi-select cell is cut by the picklist, kept as it stands where that does not explain it, and then named', () => {
  const read = rowReader(leads, header, { span, multiSelects: new Map([['Languages_Known', multiSelectReader(['English', 'Agriculture, Food, and Natural Resources'])]]) });
  const at = fields.indexOf('Languages_Known');
  const textOf = (cell: string) => read(row('1', AT, { Languages_Known: cell }));
  expect(textOf('English,Agriculture, Food, and Natural Resources')).toMatchObject({ fields: expect.toSatisfy((values: string[]) => values[at] === 'English;Agriculture, Food, and Natural Resources') as unknown });
  expect(textOf('English,German')).toMatchObject({ unexplained: ['Languages_Known'], fields: expect.toSatisfy((values: string[]) => values[at] === 'English,German') as unknown });
  expect(textOf('English')).not.toHaveProperty('unexplained');
});
