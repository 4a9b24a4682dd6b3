import { createTestDatabase, type TestDatabase } from '@lockstep/local-stack';
import { coverageOf, deals } from '@lockstep/modules';
import { connect, type Database } from '@lockstep/postgres';
import { encodeSeen } from '@lockstep/record-log';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { applyBatch, type Applied, type BatchDeps } from './apply-batch.ts';
import { CoverageBook } from './coverage-book.ts';
import type { LogMessage } from './decode.ts';
import { loadPositions } from './positions.ts';
import { createSchema, schemaOf } from './schema.ts';

const schema = schemaOf('applying');
const topic = { topic: 't', topicId: 'topic-id' };
const covered = coverageOf(deals);

let database: TestDatabase;
let db: Database;
beforeEach(async () => {
  database = await createTestDatabase();
  db = await connect({ url: database.url, poolSize: 4 });
  await createSchema(db.pool, { name: 'applying', prepare: async (transaction) => void (await transaction.query('create table handed (key text, stage text)')) });
  await loadPositions(db.pool, schema, topic, [{ partition: 0, effectsFrom: 0 }, { partition: 1, effectsFrom: 0 }]);
});
afterEach(async () => {
  await db.close();
  await database.drop();
});

const message = (offset: number, stage: string, modifiedMs: number): LogMessage => ({ offset, value: Buffer.from(encodeSeen({ id: '7', modifiedMs, observedMs: modifiedMs, coverage: covered.id, fields: covered.fields.map((field) => (field === 'Stage' ? stage : null)) }).value) });
const first = [message(0, 'A', 1_000), message(1, 'B', 2_000)];

async function insertAll({ changes }: Applied['batch'], transaction: Pick<Database['pool'], 'query'>): Promise<void> {
  for (const { idempotencyKey, after } of changes) await transaction.query('insert into handed values ($1, $2)', [idempotencyKey, after?.['Stage']]);
}

const apply = (messages: readonly LogMessage[], { from = 0, partition = 0, effect = insertAll }: { from?: number; partition?: number; effect?: NonNullable<BatchDeps['definition']['apply']> } = {}): Promise<Applied> =>
  applyBatch({ pool: db.pool, schema, epsilonMs: 60_000, definition: { apply: effect } }, { topic, module: 'Deals', coverages: new CoverageBook(schema, deals), partition, from, messages });
const stand = async (): Promise<unknown> => (await db.pool.query(`select (select array_agg(stage) from handed) as handed, (select next_offset::int from ${schema}.position where partition = 0) as next, (select count(*)::int from ${schema}.newest) as newest`)).rows[0];

test('position, register and effect are one: a batch that comes again is refused, whichever process brings it', async () => {
  expect(await apply(first)).toMatchObject({ next: 2, stop: null });
  await expect(apply(first)).rejects.toMatchObject({ code: 'POSITION_TAKEN' });
  expect(await stand()).toEqual({ handed: ['A', 'B'], next: 2, newest: 1 });
});

test('of two instances that bring the same batch at once, one has the effect', async () => {
  const both = await Promise.allSettled([apply(first), apply(first)]);
  expect(both.map(({ status }) => status).toSorted((a, b) => a.localeCompare(b))).toEqual(['fulfilled', 'rejected']);
  expect(await stand()).toEqual({ handed: ['A', 'B'], next: 2, newest: 1 });
});

test('an effect that fails leaves nothing behind', async () => {
  const effect: BatchDeps['definition']['apply'] = async (batch, transaction) => {
    await insertAll(batch, transaction);
    await transaction.query('select 1 / 0');
  };
  await expect(apply(first, { effect })).rejects.toMatchObject({ code: 'EFFECT_FAILED', message: 'the effect of Deals failed: division by zero' });
  expect(await stand()).toEqual({ handed: null, next: 0, newest: 0 });
});

test('a record with messages in two partitions is refused: their order is not known', async () => {
  await apply(first);
  await expect(apply([message(0, 'C', 3_000)], { partition: 1 })).rejects.toMatchObject({ code: 'LOG_REPARTITIONED' });
});

test('a text that Postgres cannot hold as a text is handed over as it is', async () => {
  await apply([message(0, 'half \uD800 and \0', 1_000)], { effect: async () => undefined });
  const { batch } = await apply([message(1, 'B', 2_000)], { from: 1, effect: async () => undefined });
  expect(batch.changes[0]?.before?.['Stage']).toBe('half \uD800 and \0');
});
