import { type Admin, createAdmin, createKafka, createProducer, type KafkaClient, KafkaError, type Producer, readLog } from '@lockstep/kafka';
import { createTestDatabase, type TestDatabase, testKafkaBrokers, uniqueName } from '@lockstep/local-stack';
import { defineModule, leads, type ModuleDefinition, topicOf, topics } from '@lockstep/modules';
import { bulkRuns, connect, type Database, deadLetterStore, migrate, type Watermarks, watermarks } from '@lockstep/postgres';
import { createLogger } from '@lockstep/telemetry';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { decodeClaims } from './claims-message.ts';
import { ensureClaimsTopic } from './claims-topic.ts';
import { type ClaimLogDeps, loggedWatermarks, publishClaims } from './logged-watermarks.ts';
import { restoreClaims } from './restore-claims.ts';

const log = createLogger({ app: 'test', level: 'silent', isPretty: false });
const at = (time: string): Date => new Date(`2026-05-04T${time}Z`);

let kafka: KafkaClient;
let admin: Admin;
let producer: Producer;
let module: ModuleDefinition;
let topicId: string;
/** The database that is lost, and the empty one that takes its place. */
let [before, after]: [Database, Database] = [undefined as never, undefined as never];
let databases: TestDatabase[];
let claimed: Watermarks;

beforeAll(async () => {
  kafka = createKafka({ config: { brokers: testKafkaBrokers(), ssl: false, sasl: undefined }, clientId: 'test', log });
  admin = await createAdmin(kafka);
  await ensureClaimsTopic(admin);
  await admin.ensureTopics([{ topic: topics.deadLetters, partitions: 1 }]);
});
afterAll(() => admin.close());
beforeEach(async () => {
  // The topic of claims is one for all: each test has a module of its own.
  const slug = uniqueName('claimed').replaceAll('-', '_').toLowerCase();
  module = defineModule({ ...leads, apiName: slug, slug });
  await createTopic();
  // A producer remembers topics that are deleted.
  producer = await createProducer(kafka);
  databases = await Promise.all([createTestDatabase({}), createTestDatabase({})]);
  [before, after] = (await Promise.all(databases.map(({ url }) => connect({ url, poolSize: 3 })))) as [Database, Database];
  await Promise.all([migrate(before, [module]), migrate(after, [module])]);
  claimed = loggedWatermarks(watermarks(before), { db: before, producer, admin });
});
afterEach(async () => {
  await Promise.all([producer.close(), before.close(), after.close()]);
  await admin.deleteTopics([topicOf(module)]);
  await Promise.all(databases.map((one) => one.drop()));
});

async function createTopic(): Promise<void> {
  await admin.ensureTopics([{ topic: topicOf(module), partitions: 2 }]);
  topicId = await admin.topicId(topicOf(module));
}
/** Fills the topic, and claims that the whole module was read at nine. */
async function loaded({ expectedRows = 7 }: { readonly expectedRows?: number } = {}): Promise<void> {
  await producer.send(topicOf(module), ['1', '2', '3', '4', '5', '6', '7'].map((id) => ({ key: id, value: id })));
  const runs = bulkRuns(before);
  await runs.start(module.apiName, 'initial', { expectedRows });
  const [page] = await runs.openPages();
  if (page === undefined) throw new Error('no page');
  await runs.requested(page, { jobId: '1', createdTime: at('09:00:00') });
  await runs.ready(page, { count: 7, moreRecords: false });
  await runs.published(page, { rows: 7, ids: null });
  await claim('everything', at('09:00:00'));
}
const ends = async (): Promise<number[]> => (await admin.topicOffsets(topicOf(module))).map(({ high }) => high);
const claim = async (kind: 'changes' | 'everything', time: Date): Promise<void> => claimed.note({ module: module.apiName, kind, at: time, topicId, endOffsets: await ends() });
/** The next millisecond of the clock. */
async function laterThanNow(): Promise<Date> {
  const now = Date.now();
  while (Date.now() <= now) await Promise.resolve();
  return new Date();
}
const restore = () => restoreClaims({ kafka, admin, db: after }, module);
const current = async (db: Database) => [await watermarks(db).current(module.apiName, 'everything'), await watermarks(db).current(module.apiName, 'changes')];

describe('a database that was lost', () => {
  test('learns from the log up to when the CRM was read, and that the first load is complete', async () => {
    await loaded();
    await claim('changes', at('10:00:00'));
    await claim('changes', at('10:04:00'));
    expect(await restore()).toEqual({ status: 'restored', upTo: at('10:04:00') });
    expect(await current(after)).toEqual([at('09:00:00'), at('10:04:00')]);
    expect(await bulkRuns(after).all()).toMatchObject([{ module: module.apiName, kind: 'initial', state: 'complete', firstJobCreatedAt: at('09:00:00'), expectedRows: 7 }]);
    expect(await restore()).toEqual({ status: 'known' });
  });

  test('counts as read up to there only once its tables have come to the offsets of the claim', async () => {
    await loaded();
    await restore();
    await after.pool.query(`insert into lockstep.mapping (module, fingerprint) values ($1, 'x')`, [module.apiName]);
    expect(await watermarks(after).reached(module.apiName, 'everything')).toBeNull();
    for (const [partition, end] of (await ends()).entries()) await after.pool.query('insert into lockstep.projection_offset (topic_id, topic, partition, next_offset) values ($1, $2, $3, $4)', [topicId, topicOf(module), partition, end]);
    expect(await watermarks(after).reached(module.apiName, 'everything')).toEqual(at('09:00:00'));
  });

  test('does not learn of a claim that was withdrawn', async () => {
    await loaded();
    await claim('changes', at('10:00:00'));
    await claim('changes', new Date('2099-01-01T00:00:00Z'));
    await claimed.withdrawFuture(module.apiName, new Date(), 60_000);
    expect(await restore()).toEqual({ status: 'restored', upTo: at('10:00:00') });
  });

  test('does not believe a claim that is later than the broker knew it to be', async () => {
    await loaded();
    await claim('changes', new Date('2099-01-01T00:00:00Z'));
    expect(await restore()).toEqual({ status: 'restored', upTo: at('09:00:00') });
    expect(await current(after)).toEqual([at('09:00:00'), null]);
  });

  test('is loaded again where only changes were claimed', async () => {
    await claim('changes', at('10:00:00'));
    expect(await restore()).toEqual({ status: 'none' });
    expect(await current(after)).toEqual([null, null]);
  });

  test('passes over messages that are no claims', async () => {
    await loaded();
    const key = module.apiName;
    const other = { module: key, changes: null, everything: null };
    await producer.send(topics.claims, [{ key, value: 'no JSON' }, { key, value: JSON.stringify({ ...other, v: 0 }) }, { key, value: JSON.stringify({ ...other, v: 1, everything: { at: 'noon' } }) }]);
    expect(await restore()).toEqual({ status: 'restored', upTo: at('09:00:00') });
  });

  test('believes nothing behind which a newer build has written, which may have withdrawn it, until this one claims again', async () => {
    await loaded();
    await producer.send(topics.claims, [{ key: module.apiName, value: JSON.stringify({ v: 2, module: module.apiName, withdrawn: true }) }]);
    expect(await restore()).toEqual({ status: 'unreadable', problem: expect.stringMatching(/of version 2, which this build does not read/) as string });
    expect(await current(after)).toEqual([null, null]);
    await claim('everything', at('11:00:00'));
    expect(await restore()).toEqual({ status: 'restored', upTo: at('11:00:00') });
  });

  test('learns what could not be read since the whole module was, from the topic of dead letters', async () => {
    const letter = (position: Record<string, string | number>, source = 'look') => ({ key: String(position['id'] ?? ''), value: JSON.stringify({ v: 1, source, position, code: 'C', cause: 'c' }) });
    const hint = { topic: uniqueName('hints'), partition: 0, offset: 7 };
    await loaded();
    await producer.send(topics.deadLetters, [letter({ module: module.apiName, id: '1' })]);
    await claim('everything', await laterThanNow());
    const settled = new Date();
    await producer.send(topics.deadLetters, [letter({ module: module.apiName, id: '2' }), letter(hint, 'hint'), letter({ module: 'Others', id: '3' }), { key: '4', value: 'no JSON' }, { key: '5', value: '{"v":2}' }]);
    expect(await restore()).toMatchObject({ status: 'restored' });
    // The topic of dead letters is one for all as well.
    const found = (await deadLetterStore(after).list({ limit: 1_000 })).filter(({ module: of, position }) => of !== null || position['topic'] === hint.topic);
    expect(found.map(({ module: of, recordId, source }) => ({ of, recordId, source }))).toEqual(expect.arrayContaining([{ of: module.apiName, recordId: '2', source: 'look' }, { of: null, recordId: null, source: 'hint' }]));
    expect([found.length, found.every(({ at: written }) => written >= settled)]).toEqual([2, true]);
  });

  test('is loaded where there is no topic of claims yet', async () => {
    await loaded();
    const without = { ...admin, partitionsOf: () => Promise.reject(new KafkaError('no such topic', 'TOPIC_MISSING')) };
    expect(await restoreClaims({ kafka, admin: without, db: after }, module)).toEqual({ status: 'none' });
  });
});

describe('a topic of claims that is deleted while all goes on', () => {
  /** The topic of claims is one for all: here another one takes its place. */
  let own: string;
  let deps: ClaimLogDeps;
  beforeEach(async () => {
    own = uniqueName('claims');
    const inPlace = (topic: string): string => (topic === topics.claims ? own : topic);
    deps = {
      db: before,
      producer: { send: (topic, messages, options) => producer.send(inPlace(topic), messages, options) },
      admin: { ensureTopics: (specs) => admin.ensureTopics(specs.map((spec) => ({ ...spec, topic: inPlace(spec.topic) }))) },
    };
    await ensureClaimsTopic(deps.admin);
  });
  afterEach(() => admin.deleteTopics([own]));

  async function logged(): Promise<Record<string, { readonly changes: Date | undefined; readonly everything: Date | undefined }>> {
    const found: Record<string, { changes: Date | undefined; everything: Date | undefined }> = {};
    const spans = (await admin.topicOffsets(own)).map(({ partition, high }) => ({ partition, end: high }));
    await readLog(kafka, own, spans, {
      onMessages: async (_, messages) => {
        for (const { value } of messages) {
          const claims = decodeClaims(value);
          if (claims?.unread === null) found[claims.module] = { changes: claims.changes?.at, everything: claims.everything?.at };
        }
      },
      onPartitionEnd: async () => undefined,
    });
    return found;
  }

  test('is created again with the next claim, and gets what stands of every module', async () => {
    const marks = loggedWatermarks(watermarks(before), deps);
    const claims = { topicId, endOffsets: [0, 0] };
    await marks.note({ module: module.apiName, kind: 'everything', at: at('09:00:00'), ...claims });
    await marks.note({ module: 'Others', kind: 'everything', at: at('08:00:00'), ...claims });
    await admin.deleteTopics([own]);
    await marks.note({ module: module.apiName, kind: 'changes', at: at('10:00:00'), ...claims });
    expect(await logged()).toEqual({ [module.apiName]: { everything: at('09:00:00'), changes: at('10:00:00') }, Others: { everything: at('08:00:00'), changes: undefined } });
    await marks.note({ module: module.apiName, kind: 'changes', at: at('10:02:00'), ...claims });
    expect(await logged()).toMatchObject({ [module.apiName]: { changes: at('10:02:00') } });
  });
});

describe('a log that does not hold what was claimed', () => {
  test('because its topic was created again voids the claim', async () => {
    await loaded();
    await admin.deleteTopics([topicOf(module)]);
    await createTopic();
    expect(await restore()).toEqual({ status: 'incomplete', problem: expect.stringMatching(/was created again/) as string });
    expect(await current(after)).toEqual([null, null]);
  });

  test('because its end is lost voids the claim', async () => {
    await loaded();
    await claimed.note({ module: module.apiName, kind: 'changes', at: at('10:00:00'), topicId, endOffsets: [100, 0] });
    expect(await restore()).toEqual({ status: 'incomplete', problem: expect.stringMatching(/\/0 ends before offset 100/) as string });
  });

  test('because its first offsets are gone voids the claim', async () => {
    await loaded();
    const cut = { ...admin, topicOffsets: async (topic: string) => (await admin.topicOffsets(topic)).map((one) => (topic === topics.claims ? one : { ...one, low: 1 })) };
    expect(await restoreClaims({ kafka, admin: cut, db: after }, module)).toEqual({ status: 'incomplete', problem: expect.stringMatching(/its history is not whole/) as string });
  });
});

describe('a database that knows how far it was read', () => {
  test('keeps what it knows, and says it in the log', async () => {
    await watermarks(before).note({ module: module.apiName, kind: 'everything', at: at('09:00:00'), topicId, endOffsets: [0, 0] });
    expect(await restoreClaims({ kafka, admin, db: before }, module)).toEqual({ status: 'known' });
    await publishClaims({ db: before, producer, admin }, module.apiName);
    expect(await restore()).toEqual({ status: 'restored', upTo: at('09:00:00') });
  });

  test('by a run alone keeps that', async () => {
    await loaded();
    await bulkRuns(after).start(module.apiName, 'initial');
    expect(await restore()).toEqual({ status: 'known' });
    expect(await current(after)).toEqual([null, null]);
  });
});
