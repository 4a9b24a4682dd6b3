import { Readable } from 'node:stream';

import fc from 'fast-check';
import { expect, test } from 'vitest';

import { type BadLine, readRows } from './read-rows.ts';

const quoted = (cell: string): string => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);
const csvOf = (rows: readonly (readonly string[])[], lineEnd: string): string => rows.map((row) => row.map(quoted).join(',') + lineEnd).join('');

/** The bytes in pieces of these lengths, again and again. */
function* cut(bytes: Buffer, lengths: readonly number[]): Generator<Buffer> {
  for (let at = 0, piece = 0; at < bytes.length; piece += 1) {
    const length = lengths[piece % lengths.length] as number;
    yield bytes.subarray(at, at + length);
    at += length;
  }
}

async function read(bytes: Buffer, lengths: readonly number[]): Promise<{ rows: string[][]; bad: BadLine[] }> {
  const rows: string[][] = [];
  const bad: BadLine[] = [];
  for await (const batch of readRows(Readable.from(cut(bytes, lengths)), (line) => bad.push(line))) rows.push(...batch);
  return { rows, bad };
}

const cell = fc.oneof({ weight: 3, arbitrary: fc.string({ unit: fc.constantFrom('"', ',', '\r', '\n', 'a', ' ', 'é', '字', '😀') }) }, fc.string());
// A row of one empty cell and an empty line are the same bytes.
const table = fc.integer({ min: 2, max: 5 }).chain((width) => fc.array(fc.array(cell, { minLength: width, maxLength: width }), { minLength: 1, maxLength: 8 }));
const lengths = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 6 });

test('rows are what was written, wherever the stream is cut', async () => {
  await fc.assert(
    fc.asyncProperty(table, lengths, fc.constantFrom('\n', '\r\n'), fc.boolean(), async (rows, pieces, lineEnd, hasBom) => {
      // The first line end decides what the others are, so the header has no breaks in its cells.
      const withHeader = [(rows[0] as string[]).map((_, at) => `Field_${at}`), ...rows];
      const bytes = Buffer.from((hasBom ? '\uFEFF' : '') + csvOf(withHeader, lineEnd));
      expect(await read(bytes, pieces)).toEqual({ rows: withHeader, bad: [] });
    }),
    { numRuns: 500 },
  );
});

test('a row with another number of cells than the header is named and left out', async () => {
  const { rows, bad } = await read(Buffer.from('id,Name\n1,One\n2\n3,Three\n'), [1]);
  expect(rows).toEqual([['id', 'Name'], ['1', 'One'], ['3', 'Three']]);
  expect(bad).toEqual([{ line: 3, cause: 'CSV_RECORD_INCONSISTENT_FIELDS_LENGTH' }]);
});

test('a row of another width never hides or changes the ones beside it', async () => {
  const { rows, bad } = await read(Buffer.from('id,Name\n\n1,One\n2,Two,"more\nthan\n3,that"\n4,Four\nid,Name\n'), [1]);
  expect(rows).toEqual([['id', 'Name'], ['1', 'One'], ['4', 'Four'], ['id', 'Name']]);
  expect(bad).toHaveLength(2);
});

test.each(['id,Name\n1,One "and" two\n2,Two\n', 'id,Name\n1,"One" more\n2,Two\n', 'id,Name\n1,"One\n2,Two\n'])('after a wrong quote nothing is certain: %j is refused', async (text) => {
  await expect(read(Buffer.from(text), [1])).rejects.toMatchObject({ code: 'BULK_FILE_DAMAGED' });
});

test('a row with bytes that are not UTF-8 is named and left out', async () => {
  const bytes = Buffer.concat([Buffer.from('id,Name\n1,One\n2,'), Buffer.from([0xe9]), Buffer.from('\n3,Three\n')]);
  const [rows, bad]: [string[][], BadLine[]] = [[], []];
  for await (const batch of readRows(Readable.from([bytes]), (line) => bad.push(line), { isUtf8: false })) rows.push(...batch);
  expect(rows).toEqual([['id', 'Name'], ['1', 'One'], ['3', 'Three']]);
  expect(bad.map(({ cause }) => cause)).toEqual(['BYTES_NOT_UTF8']);
});
