import { zstdCompressSync } from 'node:zlib';

import { leads } from '@lockstep/modules';
import { writeCopyFields } from '@lockstep/projection';
import { contentHash, coverage, type FieldValue } from '@lockstep/record-log';

import { type Measured, median } from './measure.ts';

/*
 * The question of docs/adr/0001: do fields stand in an event as an array in coverage order, or as an object in coverage order
 * without its nulls? Each way is taken from canonical values to JSON, and from JSON to COPY text, byte by byte and by parsing.
 */
const EVENTS = 20_000;
const BATCH = 500;
const names = leads.fields.map(({ field }) => field);
const keep = names.map(() => true);
const covered = coverage(names);

/** Runs the comparison; a few seconds. */
function measureEventForm(runs: number): Measured[] {
  const rows = Array.from({ length: EVENTS }, (_, i) => row(i));
  const array = rows.map((fields) => `${head(fields)}"fields":${JSON.stringify(fields)}}`);
  const object = rows.map((fields) => `${head(fields)}"fields":${JSON.stringify(withoutNulls(fields))}}`);
  const [arrayBytes, objectBytes] = [array, object].map((texts) => texts.map((text) => Buffer.from(text))) as [Buffer[], Buffer[]];
  const target = Buffer.alloc(16_384);
  const perEvent = (work: (i: number) => unknown): number => {
    const times = Array.from({ length: runs }, () => {
      const started = performance.now();
      for (let i = 0; i < EVENTS; i += 1) work(i);
      return ((performance.now() - started) * 1000) / EVENTS;
    });
    return median(times);
  };
  const measured = (name: string, unit: string, a: number, b: number): Measured => ({ name, unit, values: { array: a, object: b } });
  return [
    measured('size', 'bytes', mean(arrayBytes.map((b) => b.length)), mean(objectBytes.map((b) => b.length))),
    measured('size, zstd level 1, 500 a batch', 'bytes', compressed(arrayBytes), compressed(objectBytes)),
    measured('values to JSON', 'µs', perEvent((i) => JSON.stringify(rows[i])), perEvent((i) => JSON.stringify(withoutNulls(rows[i] as FieldValue[])))),
    measured('JSON.parse', 'µs', perEvent((i) => JSON.parse(array[i] as string)), perEvent((i) => JSON.parse(object[i] as string))),
    measured(
      'parse to COPY text',
      'µs',
      perEvent((i) => encode((JSON.parse(arrayBytes[i]?.toString() as string) as { fields: FieldValue[] }).fields)),
      perEvent((i) => encodeObject((JSON.parse(objectBytes[i]?.toString() as string) as { fields: Record<string, FieldValue> }).fields)),
    ),
    measured(
      'bytes to COPY text',
      'µs',
      perEvent((i) => writeCopyFields(arrayBytes[i] as Buffer, HEAD, keep, target, 0)),
      perEvent((i) => writeCopyObject(objectBytes[i] as Buffer, HEAD, target)),
    ),
  ];
}

const head = (fields: readonly FieldValue[]): string =>
  `{"v":1,"type":"seen","id":"5725767000100000007","m":1718117126000,"o":1718117127123,"hash":"${contentHash(covered.id, JSON.stringify(fields))}","coverage":"${covered.id}",`;
const HEAD = head([]).length + '"fields":'.length;

const withoutNulls = (fields: readonly FieldValue[]): Record<string, FieldValue> => {
  const object: Record<string, FieldValue> = {};
  for (let i = 0; i < names.length; i += 1) if (fields[i] !== null) object[names[i] as string] = fields[i] as FieldValue;
  return object;
};

// About a third of a lead's fields are empty.
const row = (i: number): FieldValue[] =>
  leads.fields.map(({ kind, field }, column): FieldValue => {
    if ((i * 7 + column * 13) % 10 < 3) return null;
    if (kind === 'boolean') return (i + column) % 2 === 0;
    if (kind === 'lookup') return `57257670004110${String(i % 97).padStart(5, '0')}`;
    if (kind === 'datetime') return new Date(1.7e12 + i * 977_000).toISOString().replace('.000', '');
    if (kind === 'integer') return String(i % 5000);
    if (kind === 'decimal') return `${i % 90_000}.5`;
    if (kind === 'date') return '1990-01-31';
    return field === 'Description' ? `Écho "föxtrot"\nline ${i}, 東京` : `${field.slice(0, 6)} ${i % 1000}`;
  });

const mean = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0) / numbers.length;

function compressed(events: readonly Buffer[]): number {
  let total = 0;
  for (let i = 0; i < events.length; i += BATCH) total += zstdCompressSync(Buffer.concat(events.slice(i, i + BATCH)), { params: { 100: 1 } }).length;
  return total / events.length;
}

const special = /[\\\n\r\t]/g;
const escapes: Record<string, string> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' };
const cell = (value: FieldValue | undefined): string => (value === null || value === undefined ? '\\N' : String(value).replace(special, (c) => escapes[c] as string));
const encode = (fields: readonly FieldValue[]): Buffer => Buffer.from(fields.map(cell).join('\t'));
const encodeObject = (fields: Record<string, FieldValue>): Buffer => Buffer.from(names.map((name) => cell(fields[name])).join('\t'));

// The object's transcoder: what follows a key goes through the array's, one value at a time; an absent key is a null.
const keys = names.map((name) => Buffer.from(`"${name}":`));
const one = [true];
function writeCopyObject(json: Buffer, at: number, target: Buffer): number {
  let pos = at + 1;
  let out = 0;
  for (const key of keys) {
    if (!standsAt(key, json, pos)) {
      target[out++] = 0x09;
      target[out++] = 0x5c;
      target[out++] = 0x4e;
      continue;
    }
    const start = pos + key.length;
    let end = start;
    for (let inside = false; ; end += 1) {
      const byte = json[end];
      if (byte === 0x22) inside = !inside;
      else if (byte === 0x5c) end += 1;
      else if (!inside && (byte === 0x2c || byte === 0x7d)) break;
    }
    const last = json[end];
    json[start - 1] = 0x5b;
    json[end] = 0x5d;
    out = writeCopyFields(json, start - 1, one, target, out);
    json[start - 1] = 0x3a;
    json[end] = last as number;
    pos = end + 1;
  }
  return out;
}

function standsAt(key: Buffer, json: Buffer, at: number): boolean {
  for (let i = 0; i < key.length; i += 1) if (json[at + i] !== key[i]) return false;
  return true;
}

for (const { name, unit, values } of measureEventForm(5)) {
  process.stdout.write(`${name}, ${unit}: ${Object.entries(values).map(([form, value]) => `${form} ${value.toFixed(2)}`).join(', ')}\n`);
}
