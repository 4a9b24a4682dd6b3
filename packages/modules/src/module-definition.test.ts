import { describe, expect, test } from 'vitest';

import { coverageOf } from './coverage-of.ts';
import { leads } from './leads.ts';
import { defineModule, type FieldMapping } from './module-definition.ts';

describe('a module that converts', () => {
  const withoutMarker = leads.fields.filter(({ field }) => field !== 'Converted__s');

  test('needs a column that shows it, unless it is to keep the row as it is', () => {
    expect(() => defineModule({ ...leads, fields: withoutMarker })).toThrow(/module Leads: onConvert 'mark' needs a boolean column for Converted__s/);
    expect(defineModule({ ...leads, onConvert: 'keep', fields: withoutMarker }).onConvert).toBe('keep');
  });
});

describe('a field that is logged without a column', () => {
  const alsoLogged = [{ field: 'Nick', kind: 'text' }] as const;

  test('stands in the coverage behind those that are mapped', () => {
    expect(coverageOf(defineModule({ ...leads, alsoLogged })).fields).toEqual([...leads.fields.map(({ field }) => field), 'Nick']);
  });

  test('is not mapped as well, nor one of those that every event has', () => {
    expect(() => defineModule({ ...leads, alsoLogged: [{ field: 'Company', kind: 'text' }] })).toThrow(/module Leads: a CRM field is mapped twice, or mapped and also logged/);
    expect(() => defineModule({ ...leads, alsoLogged: [...alsoLogged, ...alsoLogged] })).toThrow(/mapped twice/);
    expect(() => defineModule({ ...leads, alsoLogged: [{ field: 'Modified_Time', kind: 'datetime' }] })).toThrow(/id and Modified_Time belong to every event/);
  });

  test('counts among the fields of a bulk read', () => {
    const many = Array.from({ length: 199 - leads.fields.length }, (_, n) => ({ field: `F${n}`, kind: 'text' as const }));
    expect(() => defineModule({ ...leads, alsoLogged: many })).toThrow(/199 fields; a bulk read exports at most 198/);
  });
});

test('only a lookup can refer to records of another module', () => {
  const wrong: FieldMapping = { field: 'Nick', kind: 'text', column: 'nick', type: 'text', refersTo: 'Accounts' };
  expect(() => defineModule({ ...leads, fields: [...leads.fields, wrong] })).toThrow(/module Leads: Nick is no lookup and cannot refer to Accounts/);
});
