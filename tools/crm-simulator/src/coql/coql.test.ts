import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { type CrmUnderTest, type Json, startCrm } from '../crm-under-test.ts';

let crm: CrmUnderTest;
let truth: Json[];

beforeAll(async () => {
  crm = await startCrm({ records: { Leads: 3000, Deals: 300 } });
  const [edited = ''] = crm.crm.firstIds('Leads', 7).slice(-1);
  crm.crm.massEdit('Leads', crm.crm.firstIds('Leads', 40), { City: "L'Aquila" });
  crm.crm.editRecord('Leads', edited, { Company: '100%' });
  truth = [...crm.crm.truth('Leads')].toSorted((a, b) => Date.parse(a.Modified_Time) - Date.parse(b.Modified_Time) || (a.id < b.id ? -1 : 1));
});
afterAll(() => crm.close());

const query = (text: string, version = 'v8') => crm.send('POST', `/crm/${version}/coql`, { select_query: text });
const ids = async (where: string, rest = 'limit 2000'): Promise<unknown[]> => {
  const { status, body } = await query(`select id from Leads where ${where} ${rest}`);
  if (status === 204) return [];
  return (body['data'] as Json[] | undefined)?.map(({ id }) => id as unknown) ?? [body];
};
const expected = (keep: (record: Json) => boolean): unknown[] => truth.filter(keep).map(({ id }) => String(id)).toSorted();

describe('rows', () => {
  test('are found by ids, and come by id', async () => {
    const wanted = crm.crm.firstIds('Leads', 100);
    expect(await ids(`id in ('${wanted.toReversed().join("', '")}')`)).toEqual(wanted);
  });

  test('are read to the end by a keyset on Modified_Time and id, each once, in order', async () => {
    const found: Json[] = [];
    for (let after = "Modified_Time >= '2000-01-01T00:00:00Z'", more = true; more;) {
      const { body } = await query(`select id, Modified_Time from Leads where (${after}) order by Modified_Time asc, id asc limit 700`);
      found.push(...(body['data'] as Json[]));
      const last = found.at(-1);
      after = `Modified_Time > '${last?.['Modified_Time']}' or (Modified_Time = '${last?.['Modified_Time']}' and id > ${last?.['id']})`;
      more = body['info'].more_records as boolean;
    }
    expect(found.map(({ id }) => id as unknown)).toEqual(truth.map(({ id }) => id as unknown));
  });

  test('hold the selected columns and the id, in the forms of JSON', async () => {
    const { body } = await query('select Owner, Languages_Known, Lead_Score from Leads where Languages_Known is not null limit 1');
    expect(Object.keys(body['data'][0]).toSorted()).toEqual(['Languages_Known', 'Lead_Score', 'Owner', 'id']);
    expect(body['data'][0]).toMatchObject({ Owner: { id: expect.any(String) as string }, Languages_Known: expect.any(Array) as string[] });
  });

  test('include converted leads', async () => {
    expect(await ids('Converted__s = true')).toEqual(expected((record) => record['Converted__s'] === true));
  });

  test('are two hundred without a limit, and two thousand at most', async () => {
    expect(await ids('id is not null', '')).toHaveLength(200);
    expect(await ids('id is not null', 'limit 2000')).toHaveLength(2000);
    expect((await query('select id from Leads where id is not null limit 2001')).body['code']).toBe('INVALID_QUERY');
  });

  test('go on from an offset', async () => {
    const all = await ids('id is not null');
    expect(await ids('id is not null', 'limit 10 offset 20')).toEqual(all.slice(20, 30));
    expect(await ids('id is not null', 'limit 20, 10')).toEqual(all.slice(20, 30));
  });

  test('none are 204 without a body', async () => {
    const { status, bytes } = await query("select id from Leads where Company = 'nobody'");
    expect([status, bytes.length]).toEqual([204, 0]);
  });
});

describe('conditions', () => {
  const score = (record: Json) => record['Lead_Score'] as number | null;
  test.each<[string, (record: Json) => boolean]>([
    ["City = 'L''Aquila'", (r) => r['City'] === "L'Aquila"],
    [String.raw`City = 'L\'Aquila'`, (r) => r['City'] === "L'Aquila"],
    ['Lead_Score > 95', (r) => (score(r) ?? -99) > 95],
    ['Lead_Score between 90 and 92', (r) => [90, 91, 92].includes(score(r) ?? -99)],
    ["Company like 'Acme%'", (r) => /^acme/i.test(r['Company'] as string)],
    ["Company like '100%'", (r) => (r['Company'] as string).startsWith('100')],
    ["Lead_Source in ('Chat', 'Partner') and Rating is null", (r) => ['Chat', 'Partner'].includes(r['Lead_Source'] as string) && r['Rating'] === null],
    ["Rating = 'Active' or (Rating = 'Acquired' and Email_Opt_Out = true)", (r) => r['Rating'] === 'Active' || (r['Rating'] === 'Acquired' && r['Email_Opt_Out'] === true)],
    ["Rating != 'Active'", (r) => r['Rating'] !== 'Active'],
    ["Rating not in ('Active', 'Acquired')", (r) => !['Active', 'Acquired'].includes(r['Rating'] as string)],
    ["City not like 'L%'", (r) => !/^l/i.test((r['City'] as string | null) ?? '')],
    ["Languages_Known = 'English;German'", (r) => (r['Languages_Known'] as string[] | null)?.join(';') === 'English;German'],
    ["Date_of_Birth < '1960-01-01'", (r) => r['Date_of_Birth'] !== null && (r['Date_of_Birth'] as string) < '1960-01-01'],
  ])('%s', async (where, keep) => {
    const wanted = expected(keep).slice(0, 2000);
    expect(wanted.length).toBeGreaterThan(0);
    expect(await ids(where)).toEqual(wanted);
  });

  test('compare instants, whatever the offset they are written in', async () => {
    const time = truth[1500]?.['Modified_Time'] as string;
    const shifted = `${new Date(Date.parse(time) + 5.5 * 3_600_000).toISOString().slice(0, 19)}+05:30`;
    expect(await ids(`Modified_Time = '${shifted}'`)).toEqual(expected((record) => record['Modified_Time'] === time));
  });
});

describe('refused are', () => {
  test.each([
    ['no query at all', 'selec id from Leads where id is not null', 'SYNTAX_ERROR'],
    ['a query without where', 'select id from Leads limit 10', 'SYNTAX_ERROR'],
    ['an unclosed text', "select id from Leads where City = 'x", 'SYNTAX_ERROR'],
    ['three conditions without brackets', 'select id from Leads where id > 1 and id > 2 and id > 3', 'SYNTAX_ERROR'],
    ['an unknown column', 'select Nonsense from Leads where id is not null', 'INVALID_QUERY'],
    ['a column of a kind it does not select', 'select Related_Products from Leads where id is not null', 'INVALID_QUERY'],
    ['an unknown module', 'select id from Nothing where id is not null', 'INVALID_QUERY'],
    ['a value of the wrong kind', "select id from Leads where Modified_Time > 'yesterday'", 'INVALID_QUERY'],
    ['a column twice', 'select id, City, City from Leads where id is not null', 'DUPLICATE_DATA'],
    ['eleven orders', `select id from Leads where id is not null order by ${Array.from({ length: 11 }, () => 'City').join(', ')}`, 'LIMIT_EXCEEDED'],
  ])('%s', async (_, text, code) => {
    const { status, body } = await query(text);
    expect([status, body['code']]).toEqual([400, code]);
  });

  test('more values and columns than the version takes', async () => {
    const values = (count: number) => `select id from Leads where id in (${Array.from({ length: count }, (_, i) => `'${i}'`).join(', ')})`;
    const status = async (text: string, version: string) => (await query(text, version)).status;
    expect([await status(values(50), 'v6'), await status(values(51), 'v6')]).toEqual([204, 400]);
    expect([await status(values(100), 'v8'), await status(values(101), 'v8')]).toEqual([204, 400]);
    const columns = Array.from({ length: 51 }, (_, i) => `F${i}`).join(', ');
    expect((await query(`select ${columns} from Leads where id is not null`, 'v6')).body['code']).toBe('LIMIT_EXCEEDED');
  });
});

test('credits follow the limit: one, two, three', async () => {
  const credits = () => crm.crm.counters().byKind['coql']?.credits ?? 0;
  const before = credits();
  for (const limit of [200, 1000, 2000]) await query(`select id from Leads where id is not null limit ${limit}`);
  expect(credits() - before).toBe(6);
});
