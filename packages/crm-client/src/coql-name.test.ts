import { parseQuery, reservedWords } from '@lockstep/crm-simulator';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { createCrmClient, type CrmClient } from './client.ts';
import { loadCrmConfig } from './config.ts';
import { coqlName } from './coql-name.ts';
import { createTokenSource, memoryTokenStore } from './tokens.ts';
import { crmStub, type CrmStub } from './testing.ts';

let stub: CrmStub;
let crm: CrmClient;

beforeAll(async () => {
  // Answers every query with one row, if the simulator's parser takes it.
  stub = await crmStub(({ body }) => {
    const { columns, module } = parseQuery((JSON.parse(body) as { select_query: string }).select_query);
    return { data: [{ ...Object.fromEntries(columns.map((column) => [column, `${column} of ${module}`])), id: '1', Modified_Time: '2026-05-04T10:00:00+05:30' }], info: { more_records: false } };
  });
  const config = loadCrmConfig({ CRM_API_URL: stub.url, CRM_ACCOUNTS_URL: stub.url, CRM_CLIENT_ID: 'c', CRM_CLIENT_SECRET: 's', CRM_REFRESH_TOKEN: 'r' });
  crm = createCrmClient({ config, tokens: createTokenSource({ config, store: memoryTokenStore() }), retries: 0 });
});
afterAll(async () => {
  await crm.close();
  await stub.close();
});

const words = [...reservedWords].map((word) => word[0]?.toUpperCase() + word.slice(1));

describe('a reserved word as the name of a field and of a module', () => {
  test('is refused by the CRM as it stands', () => expect(() => parseQuery('select External from Contacts where id is not null')).toThrow(expect.objectContaining({ code: 'SYNTAX_ERROR' })));

  test.each([
    ['a look', (module: string, field: string) => crm.lookAt({ module, fields: [field], ids: ['1'] })],
    ['a window', (module: string, field: string) => crm.changedSince({ module, fields: [field], since: new Date(0), after: { modifiedTime: '2026-05-04T10:00:00+05:30', id: '1' } })],
    ['a range of ids', (module: string, field: string) => crm.recordsBetween({ module, fields: [field], afterId: '1', beforeId: '9', since: new Date(0) })],
  ] as const)('is read by %s, each of them', async (_, query) => {
    const found: unknown[] = [];
    for (const word of words) found.push((await query(word, word)).records[0]?.values[word]);
    expect(found).toEqual(words.map((word) => `${word} of ${word}`));
  });
});

test('words that only one edition of SQL reserves are quoted, and refused by the CRM unquoted', () => {
  const words = ['Absent', 'Permute', 'Unmatched', 'Level', 'Section', 'Size', 'Zone', 'Domain', 'Key', 'View', 'Greatest', 'Json', 'Least', 'Any_Value', 'Limit', 'Desc'];
  expect(words.map(coqlName)).toEqual(words.map((word) => `'${word}'`));
  for (const word of words) expect(() => parseQuery(`select ${word} from Contacts where id is not null`)).toThrow(expect.objectContaining({ code: 'SYNTAX_ERROR' }));
});

test('every other name stands bare, but for what is no plain word', () => {
  expect(['Leads', 'Last_Name', 'Converted__s', 'Type'].map(coqlName)).toEqual(['Leads', 'Last_Name', 'Converted__s', 'Type']);
  expect(['external', 'ORDER', "it's", 'a-b'].map(coqlName)).toEqual(["'external'", "'ORDER'", "'it''s'", "'a-b'"]);
});
