import { describe, expect, test } from 'vitest';

import { bulkJob, type Json, parsedCsv, startCrm, unzipped } from '../crm-under-test.ts';
import type { SimulatorOptions } from '../options.ts';

/** The result of a module, as bytes, as text and in cells, and the truth it was made of. */
async function result(options: Partial<SimulatorOptions>, query: Json = {}) {
  const crm = await startCrm({ records: { Leads: 300 }, ...options });
  const job = await bulkJob(crm, { module: { api_name: 'Leads' }, ...query });
  const reply = await crm.get(`/crm/bulk/v8/read/${job['id']}/result`);
  const { name, text } = unzipped(reply.bytes);
  const [header = [], ...lines] = parsedCsv(text.replace(/^\uFEFF/, ''));
  const rows = lines.map((line) => Object.fromEntries(header.map((column, at) => [column, line[at] ?? ''])));
  const truth = [...crm.crm.truth('Leads')];
  await crm.close();
  return { job, reply, name, text, header, rows, truth };
}

describe('the result file', () => {
  test('is a ZIP with one CSV, named after the job', async () => {
    const { job, reply, name } = await result({});
    expect([reply.headers.get('content-type'), name]).toEqual(['application/zip', `${job['id']}.csv`]);
  });

  test('holds every cell of every row, quotes and line breaks included, as strict CSV', async () => {
    const { header, rows, truth, text } = await result({});
    expect(rows.map(({ Id }) => Id)).toEqual(truth.map(({ id }) => id));
    const plain = header.filter((name) => !/^Id$|_Time$|_At$|^Tag$|^Languages_Known$/.test(name)); // whose cells are the truth's own words
    const cells = (row: Json) => plain.map((name) => String(row[name] ?? ''));
    expect(plain.length).toBeGreaterThan(35);
    expect(rows.map(cells)).toEqual(truth.map(cells));
    expect(text).toMatch(/"[^"]*\n[^"]*"/);
    expect(text).toContain('""');
  });

  test('has date-times in the user\'s zone, in whole seconds', async () => {
    const { rows, truth } = await result({ utcOffset: '-07:00' });
    for (const { Modified_Time: time } of rows) expect(time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d-07:00$/);
    expect(rows.map((row) => Date.parse(row['Modified_Time'] ?? ''))).toEqual(truth.map((record) => Date.parse(record.Modified_Time)));
  });

  test('has the id, whatever was selected', async () => {
    const { header } = await result({}, { fields: ['City', 'Company'] });
    expect(header.toSorted()).toEqual(['City', 'Company', 'Id']);
  });

  test('has no column for what CSV cannot hold', async () => {
    const { header } = await result({});
    for (const name of ['Interests', 'Related_Products', 'Attached_Files']) expect(header).not.toContain(name);
    expect(header.length).toBeGreaterThanOrEqual(40);
  });

  test.each(['id', 'Id'] as const)('calls the id `%s` by switch', async (csvIdHeader) => {
    expect((await result({ csvIdHeader })).header[0]).toBe(csvIdHeader);
  });

  test.each([';', ','] as const)('joins chosen values with `%s` by switch, tags always with a comma', async (csvMultiSelectSeparator) => {
    const { rows, truth } = await result({ csvMultiSelectSeparator });
    const joined = (name: string, separator: string) => truth.map((record) => (record[name] as string[] | null)?.join(separator) ?? '');
    expect(rows.map((row) => row['Languages_Known'])).toEqual(joined('Languages_Known', csvMultiSelectSeparator));
    expect(rows.map((row) => row['Tag'])).toEqual(joined('Tag', ','));
  });

  test('begins with a byte order mark, and ends lines with CR LF, by switch', async () => {
    const [plain, other] = [await result({}), await result({ csvBom: true, csvCrlf: true })];
    expect([plain.text.codePointAt(0), other.text.codePointAt(0)]).toEqual([0x49, 0xfeff]);
    expect([plain.text.includes('Layout\r\n'), other.text.split('\r\n').length > 300]).toEqual([false, true]);
    expect(other.rows.map((row) => row['Company'])).toEqual(plain.rows.map((row) => row['Company']));
  });
});
