import { createWriteStream } from 'node:fs';
import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';

import type { BulkFileError } from '@lockstep/bulk-file';
import type { ProducedMessage } from '@lockstep/kafka';
import { coverageOf, leads } from '@lockstep/modules';
import { decodeEvent, type RecordSeen } from '@lockstep/record-log';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ZipFile } from 'yazl';

import type { DeadLetter } from '../dead-letters.ts';
import { rowsOf } from './bulk-results.ts';
import { publishRows, type PublishRowsOptions } from './publish-rows.ts';

let folder: string;
let sent: ProducedMessage[] = [];
let letters: DeadLetter[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lockstep-bulk-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));
beforeEach(() => {
  sent = [];
  letters = [];
});

const { fields } = coverageOf(leads);
const at = '2026-05-04T10:00:00+05:30';
const header = ['Id', ...fields, 'Modified_Time'].join(',');
const row = (id: string, values: Record<string, string> = {}): string => [id, ...fields.map((field) => values[field] ?? ''), values['Modified_Time'] ?? at].join(',');

async function zipOf(entries: Record<string, string>): Promise<string> {
  const zip = new ZipFile();
  for (const [name, text] of Object.entries(entries)) zip.addBuffer(Buffer.from(text), name);
  zip.end();
  const file = join(folder, `${Math.random()}.zip`);
  await pipeline(zip.outputStream, createWriteStream(file));
  return file;
}

async function publish(file: string, promised?: number, more: Partial<PublishRowsOptions> = {}) {
  const { rows, rowCount } = await rowsOf(file);
  const outcome = await publishRows({
    rows,
    promised: promised ?? rowCount,
    jobId: '42',
    reading: 'initial run 1, page 1',
    module: leads,
    span: { lowerMs: Date.parse('2026-05-04T04:00:00Z'), upperMs: Date.parse('2026-05-04T05:00:00Z') },
    producer: { send: async (_topic, messages) => void sent.push(...messages) },
    epsilonMs: 60_000,
    signal: new AbortController().signal,
    ...more,
  });
  letters.push(...outcome.bad);
  return { ...outcome, bad: outcome.bad.length };
}
const publishCsv = async (lines: string[], separator = '\n') => publish(await zipOf({ '42.csv': lines.join(separator) }));
const events = (): RecordSeen[] => sent.map(({ value }) => decodeEvent(String(value)) as RecordSeen);
const valueOf = (event: RecordSeen | undefined, field: string): unknown => event?.fields[fields.indexOf(field)];
const codeOf = (work: Promise<unknown>): Promise<string> => work.then(() => 'published', (error: unknown) => (error as BulkFileError).code);

describe('a bulk file', () => {
  test('becomes one canonical observation a row, keyed by id', async () => {
    expect(await publishCsv([header, row('11', { Company: 'Ada', Annual_Revenue: '50000.00', Email_Opt_Out: 'true', Created_Time: '2020-01-01T00:00:00+01:00' }), row('12')])).toMatchObject({ rows: 2, ids: { first: '11', last: '12' }, bad: 0 });
    const [first, second] = events();
    expect(first).toMatchObject({ type: 'RecordSeen', id: '11', modifiedMs: Date.parse(at), observedMs: Date.parse(at) });
    expect(['Company', 'Annual_Revenue', 'Email_Opt_Out', 'Created_Time', 'City'].map((field) => valueOf(first, field))).toEqual(['Ada', '50000', true, '2019-12-31T23:00:00Z', null]);
    expect([String(sent[1]?.key), second?.id]).toEqual(['12', '12']);
  });

  test('that lacks a field which the CRM is known not to give says nothing about it, under a coverage that was declared before; one that lacks another is refused', async () => {
    const without = ['Id', ...fields.filter((field) => field !== 'Company'), 'Modified_Time'];
    const file = await zipOf({ '42.csv': [without.join(','), without.map((name) => (name === 'Id' ? '11' : name === 'Modified_Time' ? at : name === 'City' ? 'Pune' : '')).join(',')].join('\n') });
    const declared: string[] = [];
    const declare = async (module: typeof leads): Promise<void> => void declared.push(coverageOf(module).id, String(sent.length));
    expect(await publish(file, 1, { missing: new Set(['Company', 'Fax']), declare })).toMatchObject({ rows: 1 });
    const [event] = events();
    expect([declared, event?.fields.length]).toEqual([[event?.coverage, '0'], fields.length - 1]);
    expect(event?.fields[fields.filter((field) => field !== 'Company').indexOf('City')]).toBe('Pune');
    expect(await codeOf(publish(file, 1, { missing: new Set(['Fax']), declare }))).toBe('BULK_COLUMNS_MISSING');
  });

  test('quoted commas, quotes and line breaks stay in their cell', async () => {
    await publishCsv([header, row('11', { Street: '"Main ""High"" Street 1,\r\nBackyard\n"', Company: '"Ada, Ltd"' }), row('12', { Company: 'Next' })]);
    expect(events().map((event) => [event.id, valueOf(event, 'Street'), valueOf(event, 'Company')])).toEqual([
      ['11', 'Main "High" Street 1,\r\nBackyard\n', 'Ada, Ltd'],
      ['12', null, 'Next'],
    ]);
  });

  test('columns go by name: any order, `id` or `Id`, a BOM, CRLF, unknown columns', async () => {
    const reversed = [...fields].toReversed();
    const line = ['New_Field', 'Modified_Time', ...reversed, 'id'];
    await publishCsv([`\uFEFF${line.join(',')}`, ['x', at, ...reversed.map((field) => (field === 'Company' ? 'Ada' : '')), '11'].join(',')], '\r\n');
    expect(events().map((event) => [event.id, valueOf(event, 'Company')])).toEqual([['11', 'Ada']]);
  });

  test('its look is bounded by the job\'s creation and the end of the download', async () => {
    const times = ['2026-05-04T03:00:00Z', '2026-05-04T04:30:00Z', '2026-05-04T09:00:00Z'];
    await publishCsv([header, ...times.map((Modified_Time, i) => row(String(11 + i), { Modified_Time }))]);
    expect(events().map(({ observedMs }) => new Date(observedMs).toISOString())).toEqual(['2026-05-04T04:00:00.000Z', '2026-05-04T04:30:00.000Z', '2026-05-04T05:00:00.000Z']);
  });

  test('rows that cannot be read are kept aside with their place, and the others go on', async () => {
    expect(await publishCsv([header, row('11'), row('not an id'), row('13', { Modified_Time: 'yesterday' }), '14,too,few,cells', row('15')])).toMatchObject({ rows: 2, ids: { first: '11', last: '15' }, bad: 3 });
    expect(events().map(({ id }) => id)).toEqual(['11', '15']);
    expect(letters.map(({ code, position }) => [code, position['jobId']])).toEqual(Array.from({ length: 3 }, () => ['BULK_ROW_MALFORMED', '42']));
    expect(letters.map(({ position: { row: number, line } }) => number ?? `line ${line}`)).toEqual(expect.arrayContaining([3, 4, 'line 5']));
  });
});

describe('a file that is wrong as a whole', () => {
  const many = [header, ...Array.from({ length: 2000 }, (_, i) => row(String(1000 + i), { Company: `Company ${i * 7919}` }))].join('\n');

  test('a truncated ZIP is refused and nothing of it is published', async () => {
    const file = await zipOf({ '42.csv': many });
    await truncate(file, 20_000);
    expect([await codeOf(publish(file)), sent]).toEqual(['BULK_FILE_DAMAGED', []]);
  });

  test('a single flipped byte, which passes as data, is found by the CRC before anything is published', async () => {
    const file = await zipOf({ '42.csv': many });
    const bytes = await readFile(file);
    let codes = new Set<string>();
    for (const position of [2_000, 9_000, 15_000]) {
      const damaged = Buffer.from(bytes);
      damaged[position] = (damaged[position] as number) ^ 0x04;
      await writeFile(file, damaged);
      codes = codes.add(await codeOf(publish(file)));
    }
    expect([codes, sent]).toEqual([new Set(['BULK_FILE_DAMAGED']), []]);
  });

  test.each([
    ['no ZIP at all', 'PK no zip'],
    ['an HTML page', '<html><body>Service unavailable</body></html>'],
    ['nothing', ''],
  ])('%s is refused', async (_, text) => {
    const file = join(folder, 'wrong.zip');
    await writeFile(file, text);
    expect([await codeOf(publish(file)), sent]).toEqual(['BULK_FILE_DAMAGED', []]);
  });

  test('two files in one ZIP, and none, are refused', async () => {
    expect(await codeOf(publish(await zipOf({ 'a.csv': header, 'b.csv': header })))).toBe('BULK_FILE_DAMAGED');
    expect(await codeOf(publish(await zipOf({})))).toBe('BULK_FILE_DAMAGED');
  });

  test('a file that would unpack to far too much is refused unread', async () => {
    expect(await codeOf(publish(await zipOf({ '42.csv': 'a'.repeat(30_000_000) })))).toBe('BULK_FILE_SUSPICIOUS');
  });

  test('a missing column is named', async () => {
    const error = await publishCsv([['Id', ...fields.filter((field) => field !== 'Company'), 'Modified_Time'].join(','), '']).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ code: 'BULK_COLUMNS_MISSING', message: expect.stringContaining('Company') as string });
  });

  test('where more than a handful of rows cannot be read, the file is what is wrong: ten, or one in a thousand', async () => {
    const good = Array.from({ length: 1_000 }, (_, i) => row(String(1_000 + i)));
    const bad = (count: number): string[] => Array.from({ length: count }, () => row('x'));
    expect(await publishCsv([header, ...good, ...bad(10)])).toMatchObject({ rows: 1_000, bad: 10 });
    expect(await codeOf(publishCsv([header, ...good, ...bad(11)]))).toBe('BULK_ROWS_MALFORMED');
  });

  test.each([1, 5])('where all of its %i rows cannot be read, too', async (count) => {
    expect(await codeOf(publishCsv([header, ...Array.from({ length: count }, () => row('x'))]))).toBe('BULK_ROWS_MALFORMED');
  });

  test('more rows than were promised are no better than fewer', async () => {
    const file = await zipOf({ '42.csv': [header, row('11'), row('12'), ''].join('\n') });
    expect(await codeOf(publish(file, 2))).toBe('published');
    expect([await codeOf(publish(file, 1)), await codeOf(publish(file, 3))]).toEqual(['BULK_ROWS_MISMATCH', 'BULK_ROWS_MISMATCH']);
  });

  test.each([
    ['an unquoted quote', 'Ada "the" first'],
    ['text after a closing quote', '"Ada" Ltd'],
    ['a quote that is never closed', '"Ada'],
  ])('a cell with %s: nothing of the file is published', async (_, cell) => {
    expect([await codeOf(publishCsv([header, row('11'), row('12', { Company: cell }), row('13')])), sent]).toEqual(['BULK_FILE_DAMAGED', []]);
  });
});
