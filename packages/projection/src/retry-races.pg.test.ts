import { createTestDatabase, type TestDatabase } from '@lockstep/local-stack';
import { coverageOf, defineModule, type FieldMapping } from '@lockstep/modules';
import { connect, type Database, migrate } from '@lockstep/postgres';
import { coverage, encodeCoverage, encodeSeen, type FieldValue } from '@lockstep/record-log';
import type { PoolClient } from 'pg';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';

import type { LogMessage } from './fold-batch.ts';
import { adoptMapping } from './module-projection.ts';
import { retryParked } from './retry-parked.ts';
import { at, recordId, Topic } from './testing.ts';

/** A retry and a batch, or two retries, have the same record in hand on two connections; one is stopped before a statement. */
const field = (name: string, kind: FieldMapping['kind'] = 'text', type: FieldMapping['type'] = 'text'): FieldMapping => ({ field: name, kind, column: name.toLowerCase(), type });
const module = defineModule({
  apiName: 'Deals',
  slug: 'deals',
  table: { schema: 'public', name: 'legacy' },
  keyColumn: 'id',
  modifiedTimeColumn: 'modified',
  onDelete: { action: 'mark', deletedColumn: 'deleted' },
  fields: [field('Name'), field('Text'), field('Parent', 'lookup', 'bigint')],
});
const withoutText = coverage(coverageOf(module).fields.filter((name) => name !== 'Text'));

let testDatabase: TestDatabase;
let db: Database;
let client: PoolClient;
let other: PoolClient;
let topic: Topic;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  db = await connect({ url: testDatabase.url, poolSize: 4 });
  await migrate(db, [module]);
  [client, other] = [await db.pool.connect(), await db.pool.connect()];
});
afterAll(async () => {
  client.release();
  other.release();
  await db.close();
  await testDatabase.drop();
});
beforeEach(async () => {
  await client.query(`
    truncate lockstep.record_version, lockstep.projection_offset, lockstep.parked, lockstep.mapping;
    drop table if exists public.legacy, public.parents cascade;
    create table public.parents (id bigint primary key);
    create table public.legacy (id bigint unique, modified timestamptz, deleted timestamptz, name text, text text unique, parent bigint references public.parents (id))`);
  topic = new Topic(client, module);
  await adoptMapping(db.pool, topic.projection);
  await topic.project([topic.message(encodeCoverage({ coverage: withoutText.id, fields: withoutText.fields }))]);
  await topic.project([topic.seen({ n: 2, modified: '08:00:00', Text: 'taken' }), topic.seen({ modified: '09:00:00', Name: 'First', Text: 'first' })]);
});

type Values = { readonly modified: string; readonly [field: string]: FieldValue | undefined };
const part = ({ modified, ...values }: Values): LogMessage =>
  topic.message(encodeSeen({ id: recordId(1), modifiedMs: at(modified), observedMs: at(modified), coverage: withoutText.id, fields: withoutText.fields.map((name) => values[name] ?? null) }).value);
const due = (): Promise<unknown> => client.query(`update lockstep.parked set tried_at = now() - interval '1 hour' where resolved_at is null or value is not null`);
const rows = async (sql: string): Promise<unknown[]> => (await db.pool.query(sql)).rows;
const row = (): Promise<unknown[]> => rows(`select name, text from public.legacy where id = ${recordId(1)}`);
const open = (): Promise<unknown[]> => rows('select code, fields_left from lockstep.parked where resolved_at is null or value is not null');
const parent = (): Promise<unknown> => client.query('insert into public.parents values (9)');

async function retry(): Promise<void> {
  await due();
  await retryParked(client, topic.projection);
}

/** The other connection, which stops once before a statement of this text, until it is let go on. */
function stoppingBefore(text: string): { readonly client: PoolClient; readonly reached: Promise<void>; readonly go: () => void } {
  const [reached, gone] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  let hasStopped = false;
  const query = (...args: Parameters<PoolClient['query']>): unknown => {
    if (args[0] !== text || hasStopped) return other.query(...args);
    hasStopped = true;
    reached.resolve();
    return gone.promise.then(() => other.query(...args));
  };
  const stopping = new Proxy(other, { get: (target, key) => (key === 'query' ? query : Reflect.get(target, key, target)), set: (target, key, value) => Reflect.set(target, key, value, target) });
  return { client: stopping, reached: reached.promise, go: () => gone.resolve() };
}

/** Until a connection waits for a lock. */
async function isBlocked(): Promise<void> {
  await expect.poll(() => rows(`select wait_event_type as waits from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`)).toHaveLength(1);
}

test('a full content that comes while a retry passes an older one in part is the one that stands', async () => {
  await topic.project([topic.seen({ modified: '10:05:00', Name: 'Waits', Text: 'taken' })]);
  await topic.project([part({ modified: '10:06:00', Name: 'Passes', Parent: '9' })]);
  await parent();
  await due();
  const stopping = stoppingBefore('commit');
  const retried = retryParked(stopping.client, topic.projection);
  await stopping.reached;
  const projected = topic.project([topic.seen({ modified: '10:10:00', Name: 'New', Text: 'new text' })]);
  await isBlocked();
  stopping.go();
  await Promise.all([retried, projected]);
  await topic.project([topic.seen({ n: 2, modified: '08:30:00', Text: 'free' })]);
  await retry();
  expect([await row(), await open()]).toEqual([[{ name: 'New', text: 'new text' }], []]);
});

test('a batch of a smaller coverage and a retry of the same record wait for each other in one order', async () => {
  await topic.project([topic.seen({ modified: '10:05:00', Name: 'Waits', Text: 'second', Parent: '9' })]);
  await parent();
  await due();
  const stopping = stoppingBefore('savepoint unit');
  const retried = retryParked(stopping.client, topic.projection);
  await stopping.reached;
  const projected = topic.project([part({ modified: '10:06:00', Name: 'Passes' })]);
  await isBlocked();
  stopping.go();
  await expect(Promise.all([retried, projected])).resolves.toMatchObject([{ resolved: 1 }, { applied: 1 }]);
  expect([await row(), await open()]).toEqual([[{ name: 'Passes', text: 'second' }], []]);
});

test('of two retries of a module, one does nothing', async () => {
  await topic.project([topic.seen({ modified: '10:01:00', Name: 'A', Text: 'second', Parent: '9' })]);
  await topic.project([part({ modified: '10:02:00', Name: 'B', Parent: '9' })]);
  await topic.project([topic.seen({ modified: '10:03:00', Name: 'C', Text: 'third', Parent: '9' })]);
  await parent();
  await due();
  const stopping = stoppingBefore('savepoint unit');
  const retried = retryParked(stopping.client, topic.projection, { atOnce: 1 });
  await stopping.reached;
  await client.query(`set lock_timeout = '2s'`);
  expect(await retryParked(client, topic.projection, { atOnce: 1 })).toEqual({ resolved: 0, waiting: 0 });
  await client.query('reset lock_timeout');
  stopping.go();
  expect(await retried).toMatchObject({ resolved: 1 });
  for (let i = 0; i < 3; i += 1) await retry();
  expect([await row(), await open()]).toEqual([[{ name: 'C', text: 'third' }], []]);
});
