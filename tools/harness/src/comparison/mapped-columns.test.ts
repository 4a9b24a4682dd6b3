import { leads } from '@lockstep/modules';
import { expect, test } from 'vitest';

import { differencesOf, mappedColumns, type MappedColumn } from './mapped-columns.ts';

const column = (compare: MappedColumn['compare']): MappedColumn[] => [{ field: 'F', column: 'c', compare }];
const differs = (compare: MappedColumn['compare'], expected: unknown, actual: string | null): boolean => differencesOf(column(compare), { F: expected }, { c: actual }).length > 0;

test.each<[MappedColumn['compare'], unknown, string | null]>([
  ['text', 'a', 'b'], ['text', 'a', 'a '], ['text', 'é', 'e\u0301'], ['text', 'a', null], ['text', null, ''], ['text', '', ''], ['text', 'a\u2028b', 'a\nb'], ['text', true, 'false'],
  ['number', 1.25, '1.2'], ['number', '900719925474099301', '900719925474099300'], ['number', 0, null], ['number', null, '0'],
  ['instant', '2026-01-01T00:00:00Z', '2026-01-01 01:00:00+00'], ['instant', '2026-01-01T00:00:00Z', '2026-01-01 00:00:00.0001+00'], ['instant', '2026-01-01T00:00:00Z', 'infinity'],
  ['list;', ['a', 'b'], 'b;a'], ['list;', ['a'], null], ['list,', ['a', 'b'], 'a;b'],
])('%s: %j is not %j', (compare, expected, actual) => {
  expect(differs(compare, expected, actual)).toBe(true);
});

test.each<[MappedColumn['compare'], unknown, string | null]>([
  ['text', '', null], ['text', 'a\u2028b', 'a\u2028b'], ['text', false, 'false'], ['number', 1.25, '1.2500'], ['number', '900719925474099301', '900719925474099301'],
  ['instant', '2026-01-01T00:00:00Z', '2026-01-01 00:00:00+00'], ['instant', '2026-01-01T00:00:00Z', '2026-01-01 05:30:00+05:30'], ['instant', '2026-01-01T00:00:00Z', '2026-01-01 00:00:00'],
  ['list;', [], null], ['list;', ['a', 'b'], 'a;b'],
])('%s: %j is %j', (compare, expected, actual) => {
  expect(differs(compare, expected, actual)).toBe(false);
});

test('the modified time is compared under the name that the module gives it, and may have been moved', () => {
  const columns = mappedColumns({ fields: [], modifiedTimeColumn: 'changed' });
  const [record, row] = [{ Modified_Time: '2026-01-01T00:00:00Z' }, { changed: '2026-01-02 00:00:00+00' }];
  expect(differencesOf(columns, record, row)).toMatchObject([{ column: 'changed' }]);
  expect(differencesOf(columns, record, row, 86_400_000)).toEqual([]);
  expect(mappedColumns(leads)).toHaveLength(leads.fields.length + 1);
});
