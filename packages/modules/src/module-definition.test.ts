import { describe, expect, test } from 'vitest';

import { leads } from './leads.ts';
import { defineModule, type FieldMapping } from './module-definition.ts';

describe('a module that converts', () => {
  const withoutMarker = leads.fields.filter(({ field }) => field !== 'Converted__s');

  test('needs a column that shows it, unless it is to keep the row as it is', () => {
    expect(() => defineModule({ ...leads, fields: withoutMarker })).toThrow(/module Leads: onConvert 'mark' needs a boolean column for Converted__s/);
    expect(defineModule({ ...leads, onConvert: 'keep', fields: withoutMarker }).onConvert).toBe('keep');
  });
});

test('only a lookup can refer to records of another module', () => {
  const wrong: FieldMapping = { field: 'Nick', kind: 'text', column: 'nick', type: 'text', refersTo: 'Accounts' };
  expect(() => defineModule({ ...leads, fields: [...leads.fields, wrong] })).toThrow(/module Leads: Nick is no lookup and cannot refer to Accounts/);
});
