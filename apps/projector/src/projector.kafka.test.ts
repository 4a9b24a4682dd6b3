import { type Admin, createAdmin, createBatchProducer, createKafka, createProducer, type KafkaClient, type ProducedMessage, type Producer } from '@lockstep/kafka';
import { createTestDatabase, createTestTopic, openTransaction, segmentFile, type TestDatabase, testKafkaBrokers, type TestTopic, uniqueName, writeTransactions } from '@lockstep/local-stack';
import { coverageOf, deals, defineModule, leads, type ModuleDefinition } from '@lockstep/modules';
import { connect, type Database, migrate, partitionStates, pauses, readLeftOut } from '@lockstep/postgres';
import { adoptMapping, ModuleProjection } from '@lockstep/projection';
import { encodeCoverage, encodeSeen, type FieldValue } from '@lockstep/record-log';
import { createLogger } from '@lockstep/telemetry';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { createProjectorMetrics } from './metrics.ts';
import { adopt, type OpenTopic } from './open-topics.ts';
import { Projector } from './projector.ts';

const PARTITIONS = 4;
const log = createLogger({ app: 'test', level: 'silent', isPretty: false });
const covered = coverageOf(leads);
const idOf = (n: number): string => String(5_725_767_000_000_000_000n + BigInt(n));

let kafka: KafkaClient;
let admin: Admin;
let producer: Producer;
let testDatabase: TestDatabase;
let db: Database;
let topic: TestTopic;
let groupId: string;
let running: Projector[] = [];
let metrics: ReturnType<typeof createProjectorMetrics>;
const created: TestTopic[] = [];

beforeAll(async () => {
  kafka = createKafka({ config: { brokers: testKafkaBrokers(), ssl: false, sasl: undefined }, clientId: 'test', log });
  [admin, producer] = await Promise.all([createAdmin(kafka), createProducer(kafka)]);
});
afterAll(async () => {
  await Promise.all([admin.close(), producer.close()]);
  await Promise.all(created.map((one) => one.drop()));
});
beforeEach(async () => {
  testDatabase = await createTestDatabase({ legacySchema: true });
  db = await connect({ url: testDatabase.url, poolSize: 6 });
  await migrate(db, [leads]);
  topic = await createTestTopic({ partitions: PARTITIONS });
  created.push(topic);
  groupId = uniqueName('projector');
});
afterEach(async () => {
  await Promise.all(running.map((projector) => projector.close()));
  running = [];
  await db.close();
  await testDatabase.drop();
});

async function opened({ name }: TestTopic, module: ModuleDefinition, index = 0): Promise<[string, OpenTopic]> {
  const projection = new ModuleProjection(module, 60_000);
  const unfit = await adopt(db, projection);
  return [name, { topic: name, topicId: await admin.topicId(name), index, projection, unfit }];
}

async function start(open?: readonly [string, OpenTopic][]): Promise<Projector> {
  const topics = new Map(open ?? [await opened(topic, leads)]);
  const onFatal = (error: unknown): void => {
    throw error;
  };
  metrics = createProjectorMetrics();
  const projector = new Projector({ db, kafka, admin, lanes: 2, maxBatchMessages: 500, maxQueuedBytes: 2_000_000, metrics, log, groupId, heldMs: 200, onFatal });
  running.push(projector);
  await projector.start(topics);
  return projector;
}

const stop = async (projector: Projector): Promise<void> => {
  running = running.filter((one) => one !== projector);
  await projector.close();
};

const seen = (n: number, values: Record<string, FieldValue> = {}, modifiedMs = 1_700_000_000_000): ProducedMessage => ({
  key: idOf(n),
  value: encodeSeen({ id: idOf(n), modifiedMs, observedMs: modifiedMs, coverage: covered.id, fields: covered.fields.map((field) => values[field] ?? null) }).value,
});

async function publish(messages: readonly ProducedMessage[]): Promise<void> {
  const batches = createBatchProducer({ producer, topic: topic.name });
  for (let partition = 0; partition < PARTITIONS; partition += 1) await batches.add({ key: 'coverage', value: encodeCoverage({ coverage: covered.id, fields: covered.fields }), partition });
  for (const message of messages) await batches.add(message);
  await batches.flush();
}

const one = async <T>(sql: string): Promise<T> => Object.values((await db.pool.query<Record<string, T>>(sql)).rows[0] ?? {})[0] as T;
const dropConnections = (): Promise<unknown> => db.pool.query('select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()').catch(() => undefined);
const rows = (): Promise<number> => one<number>('select count(*)::int from leads');
const ended = async (): Promise<number> => (await admin.topicOffsets(topic.name)).reduce((sum, { high }) => sum + high, 0);

/** Resolves once every message of the topic is applied, or as many as are said. */
async function applied(expected?: number): Promise<void> {
  const target = expected ?? (await ended());
  for (;;) {
    const next = await one<number>(`select coalesce(sum(next_offset), 0)::int from lockstep.projection_offset where topic = '${topic.name}'`).catch(() => 0);
    if (next >= target) return;
    await new Promise((resolve) => void setTimeout(resolve, 20));
  }
}

const nextOffset = (partition: number): Promise<number> => one<number>(`select next_offset::int from lockstep.projection_offset where topic = '${topic.name}' and partition = ${partition}`);

function isHealthy(projector: Projector): boolean {
  try {
    projector.check();
    return true;
  } catch {
    return false;
  }
}

async function haltedBecause(projector: Projector): Promise<string> {
  for (;;) {
    try {
      projector.check();
    } catch (error) {
      return (error as Error).message;
    }
    await new Promise((resolve) => void setTimeout(resolve, 20));
  }
}

describe('the projector', () => {
  test('folds a topic into the table and keeps its positions in Postgres', async () => {
    await publish(Array.from({ length: 3_000 }, (_, n) => seen(n, { Company: `Company ${n}` })));
    await start();
    await applied();
    expect([await rows(), await one(`select company from leads where id = ${idOf(42)}`)]).toEqual([3_000, 'Company 42']);
  });

  test('goes on where the last one stopped', async () => {
    await publish([seen(1, { Company: 'First' })]);
    await stop(await start().then(async (projector) => {
      await applied();
      return projector;
    }));
    await publish([seen(2, { Company: 'Second' }), seen(1, { Company: 'First, edited' }, 1_700_000_060_000)]);
    await start();
    await applied();
    expect([await rows(), await one(`select company from leads where id = ${idOf(1)}`)]).toEqual([2, 'First, edited']);
  });

  test('applies what another writer committed, passes over what it gave up, and reaches the end, also after a restart', async () => {
    await publish([seen(1, { Company: 'Ours' })]);
    const theirs = (n: number, Company: string) => ({ key: idOf(n), value: String(seen(n, { Company }).value), partition: 0 });
    await writeTransactions(topic.name, [
      { end: 'abort', messages: [theirs(2, 'Given up')] },
      { end: 'commit', messages: [theirs(3, 'Committed'), { key: null, value: 'no event of ours' }] },
      { end: 'abort', messages: [theirs(4, 'Given up')] },
    ]);
    const projector = await start();
    await applied();
    const companies = (): Promise<unknown> => one('select array_agg(company order by company) from leads');
    expect([await companies(), await one('select count(*)::int from lockstep.parked'), isHealthy(projector)]).toEqual([['Committed', 'Ours'], 1, true]);
    await stop(projector);
    await start();
    await writeTransactions(topic.name, [{ end: 'abort', messages: [theirs(5, 'Given up')] }]);
    await publish([seen(6, { Company: 'Later' })]);
    await applied();
    expect(await companies()).toEqual(['Committed', 'Later', 'Ours']);
  });

  test('names the partition that an open transaction of another writer holds, applies the others, and goes on by itself once it ends', async () => {
    const into = (partition: number, n: number, Company: string): ProducedMessage => ({ ...seen(n, { Company }), partition });
    await publish([into(0, 1, 'Before')]);
    const projector = await start();
    await applied();
    const finish = await openTransaction(topic.name, [{ key: idOf(2), value: String(seen(2, { Company: 'Theirs' }).value) }]);
    await publish([into(0, 3, 'Behind'), into(1, 4, 'Beside')]);
    expect(await haltedBecause(projector)).toMatch(/1 partitions are halted, .*\/0 cannot be read on at offset 2: another producer has a transaction open there/);
    const halted = async (): Promise<string | undefined> => (await readLeftOut(db, 'Leads')).halted?.cause;
    await expect.poll(halted, { timeout: 10_000 }).toContain(`abort --topic ${topic.name} --partition 0 --start-offset 2`);
    await expect.poll(() => one('select array_agg(company order by company) from leads'), { timeout: 10_000 }).toEqual(['Before', 'Beside']);
    await finish('commit');
    await applied();
    expect([await one('select array_agg(company order by company) from leads'), isHealthy(projector)]).toEqual([['Before', 'Behind', 'Beside', 'Theirs'], true]);
    await expect.poll(halted, { timeout: 10_000 }).toBeUndefined();
  });

  test('two in one group share the partitions, and a hand-over loses and duplicates nothing', async () => {
    await publish(Array.from({ length: 2_000 }, (_, n) => seen(n)));
    const first = await start();
    await start();
    await publish(Array.from({ length: 2_000 }, (_, n) => seen(n, { Company: 'Edited' }, 1_700_000_060_000)));
    await stop(first);
    await applied();
    expect([await rows(), await one<number>("select count(*)::int from leads where company = 'Edited'")]).toEqual([2_000, 2_000]);
  });

  test('outlives a database that drops its connections', async () => {
    await start();
    await publish(Array.from({ length: 2_000 }, (_, n) => seen(n)));
    // At any moment, and more often than the pool has connections: one that is not given back would be missed in the end.
    for (let times = 0; times < 1_000; times += 1) await dropConnections();
    await publish(Array.from({ length: 2_000 }, (_, n) => seen(10_000 + n)));
    await applied();
    expect(await rows()).toBe(4_000);
  });

  test('tries again what waits of one module although another module\'s cannot be tried', async () => {
    await migrate(db, [leads, deals]);
    const dealsTopic = await createTestTopic({ partitions: 1 });
    created.push(dealsTopic);
    const open = [await opened(topic, leads), await opened(dealsTopic, deals, 1)];
    for (const [name, { projection: { module } }] of open) {
      const { id, fields } = coverageOf(module);
      const { value } = encodeSeen({ id: idOf(1), modifiedMs: 1, observedMs: 1, coverage: id, fields: fields.map(() => null) });
      await db.pool.query(`insert into lockstep.parked (module, topic_id, topic, partition, log_offset, record_id, code, cause, retryable, value, tried_at)
        values ($1, $2, $2, 0, 0, $3, '23503', 'a parent was missing', true, $4, now() - interval '1 hour')`, [module.apiName, name, idOf(1), Buffer.from(value)]);
    }
    await db.pool.query('alter table leads rename to leads_elsewhere');
    await start(open);
    while ((await one<number>('select count(*)::int from deals')) === 0) await new Promise((resolve) => void setTimeout(resolve, 20));
    expect(await db.pool.query('select module from lockstep.parked where resolved_at is null').then(({ rows: left }) => left)).toEqual([{ module: 'Leads' }]);
  });

  test('stops where another mapping is adopted, and writes nothing by its own afterwards', async () => {
    const former = defineModule({ ...leads, fields: leads.fields.filter(({ column }) => column !== 'fax') });
    await publish(Array.from({ length: 1_000 }, (_, n) => seen(n)));
    const projector = await start([await opened(topic, former)]);
    await applied();
    await adoptMapping(db.pool, new ModuleProjection(leads, 60_000));
    await publish(Array.from({ length: 1_000 }, (_, n) => seen(n, { Company: 'by the former mapping' }, 1_700_000_060_000)));
    expect(await haltedBecause(projector)).toMatch(/the mapping of Leads was changed by a newer build; stop this process/);
    expect(await one<number>(`select count(*)::int from leads where company = 'by the former mapping'`)).toBe(0);
  });

  test('leaves a module alone while it is paused, across a restart, and goes on from there', async () => {
    await migrate(db, [leads, deals]);
    const dealsTopic = await createTestTopic({ partitions: 1 });
    created.push(dealsTopic);
    const both = async () => [await opened(topic, leads), await opened(dealsTopic, deals, 1)] as const;
    const declared = coverageOf(deals);
    await producer.send(dealsTopic.name, [{ key: 'coverage', value: encodeCoverage({ coverage: declared.id, fields: declared.fields }) }]);
    await publish([seen(1)]);
    const first = await start(await both());
    await applied();
    await pauses(db).pause('Leads', '');
    await expect.poll(async () => (await metrics.pausedModules.get()).values[0]?.value, { timeout: 10_000 }).toBe(1);
    await publish([seen(2)]);
    await stop(first);
    const second = await start(await both());
    await publish([seen(3)]);
    // A module that is not paused: what comes after is applied, so what came before would have been.
    for (const n of [1, 2]) {
      await producer.send(dealsTopic.name, [{ key: idOf(n), value: encodeSeen({ id: idOf(n), modifiedMs: 1, observedMs: 1, coverage: declared.id, fields: declared.fields.map(() => null) }).value }]);
      await expect.poll(() => one<number>('select count(*)::int from deals'), { timeout: 20_000 }).toBe(n);
    }
    expect([await rows(), isHealthy(second)]).toEqual([1, true]);
    await pauses(db).resume('Leads');
    await applied();
    expect(await rows()).toBe(3);
  });

  test('parks a value that does not fit, and applies the rest', async () => {
    await publish([seen(1), seen(2, { Company: 'x'.repeat(201) }), seen(3, { No_of_Employees: 'many' }), seen(4)]);
    await start();
    await applied();
    expect([await rows(), await one<number>('select count(*)::int from lockstep.parked')]).toEqual([2, 2]);
  });

  test('stops at an event of a newer version instead of parking it', async () => {
    const projector = await start();
    await publish([{ key: idOf(7), value: '{"v":3,"type":"seen","id":"7"}', partition: 1 }]);
    expect(await haltedBecause(projector)).toMatch(/1 partitions are halted, .*event version 3; this build reads up to 2/);
    expect(await one<number>('select count(*)::int from lockstep.parked')).toBe(0);
  });

  test('writes which partitions are halted, since when and why, until it has them no more', async () => {
    const before = Date.now();
    const projector = await start();
    await publish([{ key: idOf(7), value: '{"v":3,"type":"seen","id":"7"}', partition: 1 }]);
    await haltedBecause(projector);
    const state = async () => (await partitionStates(db).all()).filter(({ haltedSince }) => haltedSince !== null);
    await expect.poll(state, { timeout: 10_000 }).toMatchObject([{ topic: topic.name, partition: 1, module: 'Leads', cause: expect.stringContaining('event version 3') as unknown }]);
    const [halted] = await state();
    expect([halted?.haltedSince, halted?.oldestUnappliedAt].every((at) => at !== null && at !== undefined && at.getTime() >= before - 1_000)).toBe(true);
    await expect.poll(async () => (await partitionStates(db).all()).map(({ partition, oldestUnappliedAt }) => [partition, oldestUnappliedAt === null]), { timeout: 10_000 }).toEqual([[0, true], [1, false], [2, true], [3, true]]);
    await stop(projector);
    expect(await partitionStates(db).all()).toEqual([]);
  });

  test('tries a halted partition again when a person wants it, without a restart', async () => {
    const projector = await start();
    await db.pool.query('alter table lockstep.record_version rename column listed_ms to listed');
    await publish([seen(1)]);
    await haltedBecause(projector);
    const halted = async (): Promise<number> => (await partitionStates(db).all()).filter(({ haltedSince }) => haltedSince !== null).length;
    await expect.poll(halted, { timeout: 10_000 }).toBeGreaterThan(0);
    // Too early: it halts again.
    expect(await partitionStates(db).wantTried('Leads')).toBeGreaterThan(0);
    await expect.poll(() => one<number>('select count(*)::int from lockstep.partition_state where try_wanted_at is not null'), { timeout: 10_000 }).toBe(0);
    expect([await haltedBecause(projector), await rows()]).toEqual([expect.stringContaining('listed_ms'), 0]);
    await db.pool.query('alter table lockstep.record_version rename column listed to listed_ms');
    // What is noted of each partition follows within a second.
    const left = async (): Promise<number> => {
      await partitionStates(db).wantTried('Leads');
      return (await ended()) - (await one<number>(`select coalesce(sum(next_offset), 0)::int from lockstep.projection_offset where topic = '${topic.name}'`));
    };
    await expect.poll(left, { timeout: 30_000, interval: 500 }).toBe(0);
    expect(await rows()).toBe(1);
    await expect.poll(() => isHealthy(projector), { timeout: 10_000 }).toBe(true);
  });

  test('a halted partition stays as it is, and the others go on', async () => {
    const projector = await start();
    await publish([{ key: idOf(7), value: '{"v":3,"type":"seen","id":"7"}', partition: 1 }]);
    await haltedBecause(projector);
    const halted = await nextOffset(1);
    await publish([{ ...seen(1), partition: 1 }, ...[0, 2, 3].map((partition) => ({ ...seen(10 + partition), partition }))]);
    await expect.poll(rows, { timeout: 30_000 }).toBe(3);
    expect(await nextOffset(1)).toBe(halted);
  });

  test('stops a partition at a damaged batch and applies nothing of it; the others go on, and so does it once the disk is restored', async ({ skip }) => {
    const inPartition = (n: number, partition: number): ProducedMessage => ({ ...seen(n), partition });
    await publish([inPartition(1, 1)]);
    await publish([inPartition(2, 1), inPartition(3, 1), inPartition(4, 2)]);
    const file = await segmentFile(topic.name, 1);
    if (file === undefined) return skip("the broker's disk is out of reach: in a container, or on another machine");
    const damaged = ((await file.batches())[1] as number) + 100;
    await file.flip(damaged);
    const projector = await start();
    expect(await haltedBecause(projector)).toMatch(/1 partitions are halted, .*\/1: .*cannot be read at offset 2: a record batch's CRC-32C does not match its bytes/);
    await publish([inPartition(5, 3)]);
    await expect.poll(() => one<string[]>('select array_agg(id - 5725767000000000000 order by id)::text[] from leads'), { timeout: 30_000 }).toEqual(['1', '4', '5']);
    await file.flip(damaged);
    await applied();
    expect([await rows(), isHealthy(projector)]).toEqual([5, true]);
  });

  test('halts a module before anything of a wave is parked, and goes on by itself once it fits', async () => {
    await publish(Array.from({ length: 20 }, (_, n) => seen(n, { Fax: '1' })));
    await stop(await start().then(async (projector) => {
      await applied();
      return projector;
    }));
    await db.pool.query('alter table public.leads alter column fax set not null');
    await publish(Array.from({ length: 4_000 }, (_, n) => seen(1_000 + n)));
    const projector = await start();
    expect(await haltedBecause(projector)).toMatch(/messages of Leads do not fit, .*"fax".*none of them is parked/);
    await expect.poll(async () => (await metrics.halted.get()).values[0]?.value, { timeout: 10_000 }).toBe(PARTITIONS);
    expect([await rows(), await one<number>('select count(*)::int from lockstep.parked')]).toEqual([20, 0]);
    await db.pool.query('alter table public.leads alter column fax drop not null');
    await applied();
    await expect.poll(rows, { timeout: 10_000 }).toBe(4_020);
    await expect.poll(() => isHealthy(projector), { timeout: 10_000 }).toBe(true);
  });

  test('applies other modules while a table is locked, and other records while one is', { timeout: 60_000 }, async () => {
    await migrate(db, [leads, deals]);
    const dealsTopic = await createTestTopic({ partitions: 1 });
    created.push(dealsTopic);
    const projector = await start([await opened(topic, leads), await opened(dealsTopic, deals, 1)]);
    await publish(Array.from({ length: 40 }, (_, n) => seen(n)));
    await applied();
    const other = await db.pool.connect();
    try {
      await other.query('begin; lock table public.leads');
      await publish(Array.from({ length: 40 }, (_, n) => seen(n, { Company: 'Second' }, 1_700_000_060_000)));
      const declared = coverageOf(deals);
      await producer.send(dealsTopic.name, [
        { key: 'coverage', value: encodeCoverage({ coverage: declared.id, fields: declared.fields }) },
        { key: idOf(1), value: encodeSeen({ id: idOf(1), modifiedMs: 1, observedMs: 1, coverage: declared.id, fields: declared.fields.map(() => null) }).value },
      ]);
      await expect.poll(() => one<number>('select count(*)::int from deals'), { timeout: 10_000 }).toBe(1);
      await other.query('rollback');
      await applied();
      await other.query(`begin; select from public.leads where id = ${idOf(7)} for update`);
      await publish(Array.from({ length: 40 }, (_, n) => seen(n, { Company: 'Third' }, 1_700_000_120_000)));
      await applied();
      expect(await one<number>(`select count(*)::int from leads where company = 'Third'`)).toBe(39);
    } finally {
      await other.query('rollback');
      other.release();
    }
    await expect.poll(() => one<number>(`select count(*)::int from leads where company = 'Third'`), { timeout: 20_000 }).toBe(40);
    expect(isHealthy(projector)).toBe(true);
  });

  test('halts when the table no longer fits, and goes on by itself once it does', async () => {
    await publish([seen(1, { Fax: '1' }), seen(2)]);
    const projector = await start();
    await applied();
    await db.pool.query('alter table public.leads rename column fax to telefax');
    await publish(Array.from({ length: 200 }, (_, n) => seen(n, { Fax: '2' }, 1_700_000_060_000)));
    expect(await haltedBecause(projector)).toMatch(/Leads and table public\.leads do not fit:\n- column fax does not exist/);
    await db.pool.query('alter table public.leads rename column telefax to fax');
    await applied();
    expect([await one(`select fax from leads where id = ${idOf(1)}`), await rows(), await one<number>('select count(*)::int from lockstep.parked')]).toEqual(['2', 200, 0]);
  });

  test('writes nothing to a table that does not fit at the start, and keeps the mapping that stood', async () => {
    await db.pool.query('alter table public.leads alter column annual_revenue type money using null');
    await publish([seen(1), seen(2)]);
    const projector = await start();
    expect(await haltedBecause(projector)).toMatch(/column annual_revenue is money/);
    expect([await rows(), await one<number>('select count(*)::int from lockstep.mapping')]).toEqual([0, 0]);
    await db.pool.query('alter table public.leads alter column annual_revenue type numeric(16,2) using null');
    await applied();
    expect([await rows(), await one<number>('select count(*)::int from lockstep.mapping')]).toEqual([2, 1]);
  });

  test('stops when the log no longer holds the next offset', async () => {
    await publish([seen(1)]);
    await stop(await start().then(async (projector) => {
      await applied();
      return projector;
    }));
    await db.pool.query('update lockstep.projection_offset set next_offset = 1000 where partition = 0');
    const projector = await start();
    expect(await haltedBecause(projector)).toMatch(/and 1000 is next: what lies between is lost/);
  });

  test('stops at once when the log was cut in front of the next offset, though nothing is left to be read', { timeout: 25_000 }, async () => {
    await publish([{ ...seen(1), partition: 0 }]);
    const raw = kafka.kafka.admin();
    await raw.connect();
    await raw.fetchTopicOffsets(topic.name); // without its metadata kafkajs does not know the leaders
    await raw.deleteTopicRecords({ topic: topic.name, partitions: [{ partition: 0, offset: '2' }] });
    await raw.disconnect();
    const projector = await start();
    expect(await haltedBecause(projector)).toMatch(/1 partitions are halted, .*\/0 holds offsets 2 to 2, and 0 is next: what lies between is lost/);
    expect(await rows()).toBe(0);
  });
});
