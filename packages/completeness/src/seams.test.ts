import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { isLowerId, type ReadPage, seamsOf } from './seams.ts';

const page = (pageNumber: number, first?: string, last?: string): ReadPage => ({ pageNumber, ids: first === undefined || last === undefined ? null : { first, last } });

describe('between two pages', () => {
  test('nothing is known of the ids above the one and below the other', () => {
    expect(seamsOf(page(2, '31', '50'), [page(1, '1', '28')])).toEqual([{ afterId: '28', beforeId: '31' }]);
  });

  test('a page that was requested again, and read after its follower, has a seam on either side', () => {
    const seams = seamsOf(page(2, '31', '50'), [page(1, '1', '28'), page(3, '60', '70')]);
    expect(seams).toEqual([{ afterId: '28', beforeId: '31' }, { afterId: '50', beforeId: '60' }]);
  });

  test('pages that were not read yet, or are not beside it, close nothing', () => {
    expect([seamsOf(page(1, '1', '28'), []), seamsOf(page(4, '90', '99'), [page(1, '1', '28'), page(2, '31', '50')])]).toEqual([[], []]);
  });

  test('an empty page leaves all that follows the page before it', () => {
    expect([seamsOf(page(2), [page(1, '1', '28')]), seamsOf(page(1, '1', '28'), [page(2)])]).toEqual(Array.from({ length: 2 }, () => [{ afterId: '28', beforeId: null }]));
  });

  test('rows that moved the other way are in both pages, and nothing is between them', () => {
    expect(seamsOf(page(2, '27', '50'), [page(1, '1', '28')])).toEqual([]);
  });
});

test('ids compare as numbers, beyond what a double holds', () => {
  const id = fc.bigInt({ min: 1n, max: 9_223_372_036_854_775_807n });
  fc.assert(
    fc.property(id, id, (a, b) => {
      expect(isLowerId(String(a), String(b))).toBe(a < b);
    }),
  );
});

test('whatever is deleted between two pages by number, every record that stays is in a page or in a seam', () => {
  const organisation = fc.record({ records: fc.integer({ min: 1, max: 60 }), size: fc.integer({ min: 1, max: 12 }), deletions: fc.array(fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 20 }), { maxLength: 60 }) });
  fc.assert(
    fc.property(organisation, ({ records, size, deletions }) => {
      let there = Array.from({ length: records }, (_, i) => 990 + i);
      const pages: ReadPage[] = [];
      const covered = new Set<number>();
      for (let number = 1; ; number += 1) {
        const rows = there.slice((number - 1) * size, number * size);
        const read = { pageNumber: number, ids: rows.length === 0 ? null : { first: String(rows[0]), last: String(rows.at(-1)) } };
        for (const { afterId, beforeId } of seamsOf(read, pages)) for (const id of there) if (id > Number(afterId) && (beforeId === null || id < Number(beforeId))) covered.add(id);
        for (const id of rows) covered.add(id);
        pages.push(read);
        // As the CRM said when it read this page: what is deleted afterwards may leave the next one empty.
        if (there.length <= number * size) break;
        const gone = new Set(deletions[number - 1]?.map((at) => 989 + at));
        there = there.filter((id) => !gone.has(id));
      }
      expect(there.filter((id) => !covered.has(id))).toEqual([]);
    }),
  );
});
