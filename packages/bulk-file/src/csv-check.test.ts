import { Readable } from 'node:stream';

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { CsvCheck, type CheckedCsv } from './csv-check.ts';
import { BulkFileError } from './errors.ts';
import { readRows } from './read-rows.ts';

/** The bytes in pieces of these lengths, again and again. */
function* cut(bytes: Buffer, lengths: readonly number[]): Generator<Buffer> {
  for (let at = 0, piece = 0; at < bytes.length; piece += 1) {
    const length = lengths[piece % lengths.length] as number;
    yield bytes.subarray(at, at + length);
    at += length;
  }
}

function check(bytes: Buffer, lengths: readonly number[] = [bytes.length || 1]): CheckedCsv | string {
  const csv = new CsvCheck();
  try {
    for (const piece of cut(bytes, lengths)) csv.push(piece);
    return csv.end();
  } catch (error) {
    return (error as BulkFileError).code;
  }
}

const quoted = (cell: string): string => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);
const csvOf = (rows: readonly (readonly string[])[], lineEnd: string): string => rows.map((row) => row.map(quoted).join(',') + lineEnd).join('');
const cell = fc.string({ unit: fc.constantFrom('"', ',', '\r', '\n', 'a', 'é', '字', '😀'), maxLength: 6 });
const table = fc.integer({ min: 2, max: 4 }).chain((width) => fc.array(fc.array(cell, { minLength: width, maxLength: width }), { minLength: 1, maxLength: 6 }));
const withHeader = (rows: readonly string[][]): string[][] => [(rows[0] as string[]).map((_, at) => `Field_${at}`), ...rows];
const lengths = fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 4 });

test('every CSV that is written as it should be passes, with its rows counted, wherever it is cut', () => {
  fc.assert(
    fc.property(table, lengths, fc.constantFrom('\n', '\r\n'), fc.boolean(), fc.boolean(), (rows, pieces, lineEnd, hasMark, endsOpen) => {
      const text = csvOf(withHeader(rows), lineEnd);
      const bytes = Buffer.from((hasMark ? '\uFEFF' : '') + (endsOpen && rows.at(-1)?.at(-1) !== '' ? text.slice(0, -lineEnd.length) : text));
      expect(check(bytes, pieces)).toEqual({ rows: rows.length + 1, isUtf8: true });
    }),
    { numRuns: 1_000 },
  );
});

describe('refused is', () => {
  test.each([
    ['a quote within an unquoted cell', 'id,Name\n1,One "and" two\n2,Two\n'],
    ['a space before a quote', 'id,Name\n1, "One"\n'],
    ['text after a closing quote', 'id,Name\n1,"One" more\n2,Two\n'],
    ['NUL after a closing quote', 'id,Name\n1,"One"\0\n2,Two\n'],
    ['a quote that is never closed', 'id,Name\n1,"One\n2,Two\n'],
    ['a carriage return that stands alone', 'id,Name\n1,One\r2,Two\n'],
    ['a carriage return at the end', 'id,Name\n1,One\r'],
    ['a line that ends otherwise than the others', 'id,Name\n1,One\r\n2,Two\n'],
    ['the other way round', 'id,Name\r\n1,One\n2,Two\r\n'],
    ['UTF-16', Buffer.from('\uFEFFid,Name\n1,One\n', 'utf16le').toString('latin1')],
  ])('%s', (_, text) => {
    const bytes = Buffer.from(text, text.startsWith('ÿ') ? 'latin1' : 'utf8');
    for (let piece = 1; piece <= bytes.length; piece += 1) expect(check(bytes, [piece])).toBe('BULK_FILE_DAMAGED');
  });
});

test('bytes that are not UTF-8 are noticed, wherever the stream is cut, and a character that is cut is none of them', () => {
  for (const [bytes, isUtf8] of [[Buffer.from('id,Name\n1,é字😀\n'), true], [Buffer.concat([Buffer.from('id,Name\n1,é'), Buffer.from([0xff]), Buffer.from('\n')]), false], [Buffer.from('id,Name\n1,字').subarray(0, -1), false]] as const) {
    for (let piece = 1; piece <= bytes.length; piece += 1) expect(check(bytes, [piece])).toEqual({ rows: 2, isUtf8 });
  }
});

type Damage = { readonly at: number; readonly kind: 'flip' | 'delete' | 'insert'; readonly byte: number };
const damage = fc.record({ at: fc.nat(), kind: fc.constantFrom('flip' as const, 'delete' as const, 'insert' as const), byte: fc.oneof(fc.constantFrom(0x22, 0x2c, 0x0d, 0x0a, 0x00, 0xff), fc.nat({ max: 255 })) });

function damaged(bytes: Buffer, { at, kind, byte }: Damage): Buffer {
  const place = at % bytes.length;
  const kept = kind === 'insert' ? place : place + 1;
  return Buffer.concat([bytes.subarray(0, place), kind === 'delete' ? Buffer.alloc(0) : Buffer.from([byte]), bytes.subarray(kept)]);
}

test('whatever happens to one byte: the file is refused, or all rows but one are as they were, and that one is named or differs in one cell', async () => {
  await fc.assert(
    fc.asyncProperty(table, fc.constantFrom('\n', '\r\n'), damage, async (given, lineEnd, harm) => {
      const rows = withHeader(given);
      const checked = check(damaged(Buffer.from(csvOf(rows, lineEnd)), harm));
      // What a job has promised is compared with the number of rows before any of them is published.
      if (typeof checked === 'string' || checked.rows !== rows.length) return;
      const bad: unknown[] = [];
      const read: string[][] = [];
      for await (const batch of readRows(Readable.from([damaged(Buffer.from(csvOf(rows, lineEnd)), harm)]), (line) => bad.push(line), checked)) read.push(...batch);
      // A damaged header makes every row one of another width; then nothing is read.
      if (read.length === 0 || read[0]?.join() !== rows[0]?.join()) return;
      const left = new Set(read.map((row) => row.join('\0')));
      const lost = rows.filter((row) => !left.has(row.join('\0'))).length;
      const differing = rows.flatMap((row, at) => row.filter((value, column) => value !== read[at]?.[column])).length;
      expect({ rows: read.length + bad.length, isOneBad: bad.length <= 1, isOneOther: (bad.length > 0 ? lost : differing) <= 1 }).toEqual({ rows: rows.length, isOneBad: true, isOneOther: true });
    }),
    { numRuns: 5_000 },
  );
});
