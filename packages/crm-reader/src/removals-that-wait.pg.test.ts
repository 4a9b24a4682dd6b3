import { createTestDatabase, type TestDatabase } from '@lockstep/local-stack';
import { coverageOf, products, topicOf } from '@lockstep/modules';
import { connect, type Database, deletionBreaker, migrate, noteEpsilon, referrers, registerReader, wantedLooks } from '@lockstep/postgres';
import { adoptMapping, loadPositions, type LogMessage, ModuleProjection, projectBatch, retryParked } from '@lockstep/projection';
import { decodeEvent, encodeSeen } from '@lockstep/record-log';
import { createLogger, createMetrics } from '@lockstep/telemetry';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';

import { readDeletedList } from './deleted-list.ts';
import { createReaderMetrics } from './metrics.ts';

/** Removals that the legacy database refuses, as the deleted list, the log, the projector and the breaker see them over several scans. */
const RECORDS = 150;
const SCANS = 3;
const idOf = (n: number): string => String(5_725_767_000_000_000_000n + BigInt(n));
const topic = { topic: topicOf(products), topicId: 'topic' };

let testDatabase: TestDatabase;
let db: Database;
let client: Parameters<typeof retryParked>[0];
let projection: ModuleProjection;
let listed: { id: string; deletedTime: string }[];
let published: string[];
let next: number;

beforeAll(async () => {
  testDatabase = await createTestDatabase({ legacySchema: true });
  db = await connect({ url: testDatabase.url, poolSize: 4 });
  await migrate(db, [products]);
  await noteEpsilon(db, 60_000);
  client = await db.pool.connect();
  projection = new ModuleProjection(products, 60_000);
});
afterAll(async () => {
  client.release();
  await db.close();
  await testDatabase.drop();
});

const minutesAgo = (minutes: number): Date => new Date(Math.floor(Date.now() / 1_000) * 1_000 - minutes * 60_000);

beforeEach(async () => {
  await client.query('truncate public.products, public.product_reviews cascade; truncate lockstep.record_version, lockstep.projection_offset, lockstep.parked, lockstep.held_deletions');
  await adoptMapping(db.pool, projection);
  await loadPositions(client, { ...topic, partitions: [0] });
  [listed, published, next] = [[], [], 0];
  const observedMs = minutesAgo(50).getTime();
  await project(Array.from({ length: RECORDS }, (_, n) => encodeSeen({ id: idOf(n), modifiedMs: observedMs, observedMs, coverage: coverageOf(products).id, fields: coverageOf(products).fields.map(() => null) }).value));
});

async function project(values: readonly string[]): Promise<void> {
  const messages = values.map((value, i): LogMessage => ({ partition: 0, offset: next + i, value: Buffer.from(value) }));
  await projectBatch(client, projection, { ...topic, messages, positions: new Map([[0, { from: next, to: next + values.length }]]) });
  next += values.length;
}

/** One scan of the list; what it publishes is applied before the next one. */
async function scan(): Promise<{ readonly published: number; readonly isHeld: boolean }> {
  const sent: string[] = [];
  const read = await readDeletedList(
    {
      crm: { time: () => ({ earliestMs: Date.now(), latestMs: Date.now(), stampedUpToMs: Date.now(), isFirm: true }), deletedSince: async () => ({ deletions: listed, observed: { lowerMs: Date.now(), upperMs: Date.now() } }) },
      epsilonMs: 60_000,
      producer: { send: async (_, messages) => void sent.push(...[...messages].map(({ value }) => String(value))) },
      register: registerReader(db),
      breaker: deletionBreaker(db),
      referrers: referrers(db, [products]),
      looks: wantedLooks(db),
      deadLetters: { put: async (letters) => expect(letters).toEqual([]) },
      metrics: createReaderMetrics(createMetrics({ app: 'test' })),
      log: createLogger({ app: 'test', level: 'silent', isPretty: false }),
    },
    products,
    minutesAgo(60),
    { name: 'catch-up 1', purpose: 'catch-up' },
  );
  if (sent.length > 0) await project(sent);
  published.push(...sent);
  return { published: read.published, isHeld: read.isHeld };
}

const retry = async (): Promise<unknown> => {
  await client.query(`update lockstep.parked set tried_at = now() - interval '1 hour' where resolved_at is null`);
  return retryParked(client, projection);
};
const review = (n: number): Promise<unknown> => client.query('insert into public.product_reviews (product_id, stars) values ($1, 5)', [idOf(n)]);
const isDeleted = (n: number, deletedAt = minutesAgo(10)): void => void listed.push({ id: idOf(n), deletedTime: deletedAt.toISOString() });

test('a removal that waits is published once, however often the list names it; a later deletion of the record is published again', async () => {
  await review(1);
  isDeleted(1);
  const scans = [];
  for (let n = 0; n < SCANS; n += 1) scans.push(await scan(), await retry());
  expect(scans.filter((_, n) => n % 2 === 0)).toEqual([{ published: 1, isHeld: false }, ...Array.from({ length: SCANS - 1 }, () => ({ published: 0, isHeld: false }))]);
  expect(published.map((value) => decodeEvent(value).type)).toEqual(['RecordDeleted']);
  listed = [];
  isDeleted(1, minutesAgo(5));
  expect([await scan(), await scan()]).toEqual([{ published: 1, isHeld: false }, { published: 0, isHeld: false }]);
  await client.query('delete from public.product_reviews');
  expect(await retry()).toEqual({ resolved: 2, waiting: 0 });
  expect([await scan(), published.length]).toEqual([{ published: 0, isHeld: false }, 2]);
  expect((await client.query('select from public.products')).rowCount).toBe(RECORDS - 1);
});

test('many that wait do not hold the deletions that follow; they count once, like those that were applied', async () => {
  for (let n = 0; n < 60; n += 1) {
    await review(n);
    isDeleted(n);
  }
  for (let n = 0; n < SCANS; n += 1) expect((await scan()).isHeld).toBe(false);
  for (let n = 60; n < 100; n += 1) isDeleted(n);
  expect(await scan()).toEqual({ published: 40, isHeld: false });
  expect([await scan(), await deletionBreaker(db).held()]).toEqual([{ published: 0, isHeld: false }, []]);
  isDeleted(100);
  expect(await scan()).toEqual({ published: 0, isHeld: true });
});
