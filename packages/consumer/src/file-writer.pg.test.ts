import { appendFile, mkdtemp, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { createTestDatabase, type TestDatabase } from '@lockstep/local-stack';
import { connect, type Database } from '@lockstep/postgres';
import { createLogger } from '@lockstep/telemetry';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { FileWriter } from './file-writer.ts';
import { enqueue } from './outbox.ts';
import { createSchema, schemaOf } from './schema.ts';

const schema = schemaOf('writing');
const log = createLogger({ app: 'test', level: 'silent', isPretty: false });

let database: TestDatabase;
let db: Database;
let folder: string;
let path: string;
let writer: FileWriter | undefined;

beforeEach(async () => {
  database = await createTestDatabase();
  db = await connect({ url: database.url, poolSize: 6 });
  await createSchema(db.pool, { name: 'writing' });
  folder = await mkdtemp(join(tmpdir(), 'lockstep-file-'));
  path = join(folder, 'deals.ndjson');
});
afterEach(async () => {
  await writer?.close();
  await db.close();
  await database.drop();
  await rm(folder, { recursive: true, force: true });
});

async function store(from: number, to: number): Promise<void> {
  const numbers = Array.from({ length: to - from }, (_, n) => from + n);
  await enqueue(db.pool, schema, 'topic', numbers.map((n) => ({
    change: { module: 'Deals', id: String(n), kind: 'changed', before: null, after: {}, modifiedAt: new Date(0), deletedAt: null, place: { topic: 't', partition: 0, offset: n }, idempotencyKey: `Deals-${n}` },
    payload: { n, text: 'Ada & Söhne\n' },
  })));
}

async function write(): Promise<void> {
  writer = new FileWriter({ db, name: 'writing', schema, path, log });
  writer.start();
  await expect.poll(async () => (await db.pool.query(`select from ${schema}.outbox where delivered_at is null`)).rowCount, { timeout: 20_000 }).toBe(0);
  await writer.close();
  writer = undefined;
}

const numbers = async (): Promise<number[]> => (await readFile(path, 'utf8')).trimEnd().split('\n').map((line) => (JSON.parse(line) as { n: number }).n);
const upTo = (end: number): number[] => Array.from({ length: end }, (_, n) => n);

test('appends a line for each, in order, and goes on at the end of the file', async () => {
  await store(0, 2_500);
  await write();
  await store(2_500, 2_600);
  await write();
  expect(await numbers()).toEqual(upTo(2_600));
});

test('cuts off what was written and not noted, half a line included', async () => {
  await store(0, 3);
  await write();
  await appendFile(path, `${'{"n":3,"text":"Ada & Söhne\\n"}\n'.repeat(9)}{"n":4,"te`);
  await store(3, 6);
  await write();
  expect(await numbers()).toEqual(upTo(6));
});

test('writes nothing to a file that is shorter than what it wrote, and says so', async () => {
  await store(0, 3);
  await write();
  await truncate(path, 10);
  await store(3, 4);
  writer = new FileWriter({ db, name: 'writing', schema, path, log });
  writer.start();
  await expect.poll(failureOf(writer)).toMatch(/has 10 bytes, and 96 were written to it: it was removed or cut\. Restore it, or name another file/);
  expect((await readFile(path)).length).toBe(10);
});

test.each([
  ['cut', () => truncate(path, 10)],
  ['given another name', () => rename(path, `${path}.1`)],
] as const)('notices that the file was %s while it writes, and nothing is lost', async (_, change) => {
  await store(0, 3);
  writer = new FileWriter({ db, name: 'writing', schema, path, log });
  writer.start();
  const waiting = async (): Promise<number | null> => (await db.pool.query(`select from ${schema}.outbox where delivered_at is null`)).rowCount;
  await expect.poll(waiting).toBe(0);
  const before = await readFile(path);
  await change();
  await store(3, 4);
  await expect.poll(failureOf(writer)).toMatch(/96 were written to it: it was removed or cut/);
  expect(await waiting()).toBe(1);
  await writeFile(path, before);
  await expect.poll(waiting).toBe(0);
  expect(await numbers()).toEqual(upTo(4));
});

const failureOf = (of: FileWriter) => (): string => {
  try {
    of.check();
    return '';
  } catch (error) {
    return (error as Error).message;
  }
};
