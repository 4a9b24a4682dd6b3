import { coverageOf, deals } from '@lockstep/modules';
import { expect, test } from 'vitest';

import { sightingOf, unreadable } from './sighting.ts';

const observed = { lowerMs: 0, upperMs: 1 };
const record = (values: Record<string, unknown>, unread: readonly string[] = []) => ({ id: '1', modifiedTime: '2026-05-04T10:00:00+05:30', values, unread });
const full = Object.fromEntries(coverageOf(deals).fields.map((field) => [field, null]));

test('a field that is missing from a reply is not null: the sighting makes no statement about it', () => {
  const { Stage: _, ...rest } = { ...full, Deal_Name: 'Name', Stage: 'Won' };
  const sighting = sightingOf(deals, record(rest, ['Description']), observed);
  expect(sighting?.unread?.toSorted()).toEqual(['Description', 'Stage']);
  expect(sighting?.fields).toHaveLength(coverageOf(deals).fields.length - 2);
  expect(sightingOf(deals, record(full), observed)?.unread).toBeUndefined();
});

test('a reply with none of the fields is a record that cannot be read', () => {
  expect(sightingOf(deals, record({ Nonsense: 1 }), observed)).toBeNull();
  expect(unreadable('look', deals, record({ Nonsense: 1 }))).toEqual({ source: 'look', key: '1', position: { module: 'Deals', id: '1' }, code: 'FIELDS_MISSING', cause: 'no field that was asked for is in the reply' });
});
