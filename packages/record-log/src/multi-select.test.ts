import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { canonicalJson } from './canonical.ts';
import { multiSelectReader } from './multi-select.ts';

const AGRICULTURE = 'Agriculture, Food, and Natural Resources';
const listed = ['English', 'German', AGRICULTURE, 'Agriculture', 'Food; Drink', 'Globex', 'Globex, Europe', 'Smith, Jones; Sons'];

describe('a multi-select cell of a bulk CSV has the text that COQL gives', () => {
  test.each([
    [[AGRICULTURE]],
    [[AGRICULTURE, 'English']],
    [['English', AGRICULTURE, 'German']],
    [['Agriculture', AGRICULTURE]],
    [['Globex', 'Globex, Europe']],
    [['Food; Drink', 'English']],
    [['Smith, Jones; Sons']],
    [['English', 'English']],
  ])('%j, whatever the separator', (values) => {
    for (const separator of [',', ';']) expect(multiSelectReader(listed)(values.join(separator))).toEqual({ text: canonicalJson('multiselect', values), isExplained: true });
  });

  test('for every picklist, its values holding separators and each other: what is explained is right, and what is not stands as it is', () => {
    const value = fc.string({ unit: fc.constantFrom('a', 'b', ',', ';', ' '), minLength: 1, maxLength: 4 });
    const picked = fc.uniqueArray(value, { minLength: 1, maxLength: 6 }).chain((values) => fc.tuple(fc.constant(values), fc.array(fc.constantFrom(...values), { minLength: 1, maxLength: 4 }), fc.constantFrom(',', ';')));
    fc.assert(
      fc.property(picked, ([values, chosen, separator]) => {
        const cell = chosen.join(separator);
        const { text, isExplained } = multiSelectReader(values)(cell);
        expect(text).toBe(isExplained ? canonicalJson('multiselect', chosen) : cell);
      }),
      { numRuns: 5_000 },
    );
  });

  test('for every picklist whose values hold no separator, without a doubt', () => {
    const value = fc.string({ unit: fc.constantFrom('a', 'b', ' '), minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(fc.uniqueArray(value, { minLength: 1, maxLength: 6 }), fc.constantFrom(',', ';'), (values, separator) => {
        expect(multiSelectReader(values)(values.join(separator))).toEqual({ text: values.join(';'), isExplained: true });
      }),
    );
  });
});

describe('a cell stands as it is', () => {
  test.each([
    [['A', 'B', 'A,B'], 'A,B'],
    [['A', 'B,C', 'A,B', 'C'], 'A,B,C'],
  ])('where two ways lead through it: %j, %s', (values, cell) => expect(multiSelectReader(values)(cell)).toEqual({ text: cell, isExplained: false }));
  test('where it holds a value that is listed no more, or not yet', () => expect(multiSelectReader(['A', 'B'])('A,Renamed')).toEqual({ text: 'A,Renamed', isExplained: false }));
  test('while no values are known', () => expect(multiSelectReader([])(AGRICULTURE)).toEqual({ text: AGRICULTURE, isExplained: false }));
});

test('a cell of a thousand values takes no time', () => {
  const values = Array.from({ length: 200 }, (_, n) => 'a'.repeat(n + 1));
  const cell = Array.from({ length: 1000 }, () => 'a').join(',');
  expect(multiSelectReader(values)(cell).text).toBe(cell.replaceAll(',', ';'));
});
