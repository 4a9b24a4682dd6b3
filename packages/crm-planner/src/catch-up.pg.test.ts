import { defaultCatchUpRules } from '@lockstep/completeness';
import { createTestDatabase, type TestDatabase } from '@lockstep/local-stack';
import { leads } from '@lockstep/modules';
import { bulkRuns, catchUps, channels, connect, type Database, deletionBreaker, migrate, readFreshness, watermarks } from '@lockstep/postgres';
import { createLogger } from '@lockstep/telemetry';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { catchUp } from './catch-up.ts';
import { crmAt } from './testing.ts';

const at = (text: string): Date => new Date(`2026-05-04T${text}Z`);
const nothing = { rows: 0, seen: 0, unhinted: 0, deleted: 0 };

let testDatabase: TestDatabase;
let db: Database;
/** The database's time, and the CRM's. */
let now: Date;
let crmNow: Date;
let logEnd: number;

beforeEach(async () => {
  testDatabase = await createTestDatabase({ legacySchema: true });
  db = await connect({ url: testDatabase.url, poolSize: 4 });
  await migrate(db, [leads]);
  [now, crmNow, logEnd] = [new Date(), at('10:00:00'), 0];
});
afterEach(async () => {
  await db.close();
  await testDatabase.drop();
});

const deps = () => ({
  runs: bulkRuns(db),
  channels: channels(db),
  catchUps: catchUps(db),
  watermarks: watermarks(db),
  breaker: deletionBreaker(db),
  admin: { topicId: () => Promise.resolve('t'), topicOffsets: () => Promise.resolve([{ partition: 0, low: 0, high: logEnd }]) },
  signals: { send: () => Promise.resolve() },
  catchUpRules: defaultCatchUpRules,
  crm: crmAt(() => crmNow),
  now: () => now,
  log: createLogger({ app: 'test', level: 'silent', isPretty: false }),
});
const round = () => catchUp(deps(), leads);
const open = async () => (await catchUps(db).open())[0];
const watermark = () => watermarks(db).current('Leads', 'changes');

/** The channel was opened at 08:00, and the first load's job created at 09:00. */
async function afterFirstLoad(): Promise<void> {
  const time = { requestedUntil: now, grantedUntil: now, renewAt: now };
  await channels(db).save({ module: 'Leads', channelId: '1', ...time, enabledAt: at('08:00:00'), openedAt: at('08:00:00') });
  const runs = bulkRuns(db);
  const run = await runs.start('Leads', 'initial');
  const [page] = await runs.openPages();
  await runs.requested(page as NonNullable<typeof page>, { jobId: '1', createdTime: at('09:00:00') });
  await runs.ready(page as NonNullable<typeof page>, { count: 0, moreRecords: false });
  await runs.published(page as NonNullable<typeof page>, { rows: 0, ids: null });
  expect((await runs.all()).find(({ id }) => id === run?.id)?.state).toBe('complete');
}

/** The catch-up under way is read, its first call at this time. */
async function read(startedAt: Date): Promise<void> {
  const wanted = await open();
  crmNow = startedAt;
  await catchUps(db).read(wanted?.id ?? 0, startedAt, nothing);
  await round();
}

describe('the first catch-up', () => {
  test('waits for the first load, and begins two minutes before its first job; deletions are read from the opening of the channel on', async () => {
    await round();
    expect(await open()).toBeUndefined();
    await afterFirstLoad();
    await round();
    expect(await open()).toMatchObject({ state: 'wanted', from: at('08:30:00'), deletedFrom: at('07:58:00'), isSecondPass: true });
  });

  test('claims nothing about changes before it is read, and two minutes before its start afterwards', async () => {
    await afterFirstLoad();
    await round();
    expect(await watermark()).toBeNull();
    await read(at('10:00:01'));
    expect(await watermark()).toEqual(at('09:58:01'));
    expect(await watermarks(db).current('Leads', 'everything')).toEqual(at('09:00:00'));
  });
});

describe('the next catch-ups', () => {
  beforeEach(async () => {
    await afterFirstLoad();
    await round();
    await read(at('10:00:01'));
  });

  test('begin at the watermark, two minutes after the last', async () => {
    await round();
    expect(await open()).toBeUndefined();
    now = new Date(Date.now() + 121_000);
    await round();
    expect(await open()).toMatchObject({ from: at('09:58:01'), isSecondPass: false });
  });

  test('one that failed moves nothing, and the next begins where it began', async () => {
    now = new Date(Date.now() + 121_000);
    await round();
    await catchUps(db).failed((await open())?.id ?? 0, 'the CRM was away');
    now = new Date(Date.now() + 5_000);
    await round();
    expect(await open()).toBeUndefined();
    // Sooner than the next one would be due.
    now = new Date(Date.now() + 10_500);
    await round();
    expect(await open()).toMatchObject({ from: at('09:58:01') });
    expect(await watermark()).toEqual(at('09:58:01'));
  });

  test('while deletions are held, one that failed is not repeated any sooner', async () => {
    await db.pool.query(`insert into lockstep.held_deletions (module, deletions, allowed) values ('Leads', 200, 100)`);
    now = new Date(Date.now() + 121_000);
    await round();
    await catchUps(db).failed((await open())?.id ?? 0, 'deletions are held');
    now = new Date(Date.now() + 60_000);
    await round();
    expect(await open()).toBeUndefined();
  });

  test('a large window goes on by queries where no bulk job can be had: what was read is claimed, and the next one begins there', async () => {
    now = new Date(Date.now() + 121_000);
    await round();
    crmNow = at('12:06:00');
    await catchUps(db).tooLarge((await open())?.id ?? 0, at('12:00:00'), { ...nothing, rows: 33_000 }, at('11:20:07'));
    await round();
    const runs = bulkRuns(db);
    await runs.failed((await runs.all()).find(({ kind }) => kind === 'catch-up')?.id ?? 0, 'the CRM refuses');
    await round();
    expect(await watermark()).toEqual(at('11:20:07'));
    now = new Date(Date.now() + 242_000);
    await round();
    expect(await open()).toMatchObject({ from: at('11:20:07') });
    // No other job is requested for a while.
    await catchUps(db).tooLarge((await open())?.id ?? 0, at('12:04:00'), { ...nothing, rows: 33_000 }, at('11:50:00'));
    await round();
    expect(await watermark()).toEqual(at('11:50:00'));
    expect((await runs.all()).filter(({ kind }) => kind === 'catch-up')).toHaveLength(1);
  });

  test('a large window does not wait for a refresh whose page cannot be read', async () => {
    const runs = bulkRuns(db);
    await runs.start('Leads', 'refresh');
    for (let attempt = 0; attempt < 2; attempt += 1) {
      const [page] = await runs.openPages();
      await runs.refused((await runs.attempt(page as NonNullable<typeof page>, 0)) as NonNullable<typeof page>, 'no');
    }
    now = new Date(Date.now() + 121_000);
    await round();
    crmNow = at('12:06:00');
    await catchUps(db).tooLarge((await open())?.id ?? 0, at('12:00:00'), { ...nothing, rows: 33_000 }, at('11:20:07'));
    await round();
    expect(await watermark()).toEqual(at('11:20:07'));
  });

  test('a window too large for queries goes on as a bulk run of the same window, and claims what the queries had begun with', async () => {
    now = new Date(Date.now() + 121_000);
    await round();
    crmNow = at('12:06:00');
    await catchUps(db).tooLarge((await open())?.id ?? 0, at('12:00:00'), { ...nothing, rows: 33_000 });
    await round();
    const runs = bulkRuns(db);
    const run = (await runs.all()).find(({ kind }) => kind === 'catch-up');
    expect(run).toMatchObject({ state: 'running', fromTime: at('09:58:01') });
    await round();
    const [page] = await runs.openPages();
    await runs.requested(page as NonNullable<typeof page>, { jobId: '2', createdTime: at('12:05:00') });
    await runs.ready(page as NonNullable<typeof page>, { count: 0, moreRecords: false });
    await runs.published(page as NonNullable<typeof page>, { rows: 0, ids: null });
    await round();
    expect(await watermark()).toEqual(at('11:58:00'));
    expect(await watermarks(db).current('Leads', 'everything')).toEqual(at('09:00:00'));
  });
});

describe('clocks', () => {
  beforeEach(async () => {
    await afterFirstLoad();
    await round();
    await read(at('10:00:01'));
  });

  test('a reading that began in 2099, as its process believed, claims no more than it can be now', async () => {
    now = new Date(Date.now() + 121_000);
    await round();
    const wanted = await open();
    await catchUps(db).read(wanted?.id ?? 0, new Date('2099-01-01T00:00:00Z'), nothing);
    crmNow = at('10:02:05');
    await round();
    expect(await watermark()).toEqual(at('10:00:05'));
  });

  test.each([-3_600_000, 3_600_000])('a database whose clock is set by %i ms makes one catch-up due, and the next after two minutes again', async (stepMs) => {
    const plannedAfter = async (ms: number): Promise<boolean> => {
      now = new Date(Date.now() + stepMs + ms);
      await round();
      const wanted = await open();
      if (wanted === undefined) return false;
      // As the database would have noted it.
      await db.pool.query(`update lockstep.catch_up set wanted_at = $2, state = 'complete' where id = $1`, [wanted.id, now]);
      return true;
    };
    const planned: boolean[] = [];
    for (let second = 0; second <= 360; second += 10) planned.push(await plannedAfter(second * 1_000));
    expect(planned.flatMap((isPlanned, index) => (isPlanned ? [index * 10] : []))).toEqual([0, 120, 240, 360]);
  });
});

describe('freshness', () => {
  test('claims a time only once the projector has passed the log as it ended then', async () => {
    await db.pool.query(`insert into lockstep.mapping (module, fingerprint) values ('Leads', 'x')`);
    await db.pool.query(`insert into lockstep.projection_offset (topic_id, partition, topic, next_offset) values ('t', 0, 'crm.records.leads', 6)`);
    await afterFirstLoad();
    await round();
    logEnd = 7;
    await read(at('10:00:01'));
    const seenUpTo = async () => (await readFreshness(db))[0]?.seenUpTo;
    expect(await seenUpTo()).toBeNull();
    await db.pool.query('update lockstep.projection_offset set next_offset = 7');
    expect(await seenUpTo()).toEqual(at('09:58:01'));
  });

  test('is settled only up to the first record that may have a newer content of the same second, or a doubtful deletion', async () => {
    await db.pool.query(`insert into lockstep.mapping (module, fingerprint) values ('Leads', 'x')`);
    await db.pool.query(`insert into lockstep.projection_offset (topic_id, partition, topic, next_offset) values ('t', 0, 'crm.records.leads', 0)`);
    await afterFirstLoad();
    await round();
    await read(at('10:00:01'));
    const settled = async () => (await readFreshness(db))[0];
    expect(await settled()).toMatchObject({ settledUpTo: at('09:58:01'), unsettled: 0 });
    const seen = async (id: number, modified: Date, observed: Date, deleted: Date | null) =>
      db.pool.query(
        `insert into lockstep.record_version (module, record_id, modified_ms, observed_ms, content_hash, deleted_ms, log_partition, log_offset) values ('Leads', $1, $2, $3, md5('x')::uuid, $4, 0, 0)`,
        [id, modified.getTime(), observed.getTime(), deleted?.getTime() ?? null],
      );
    await seen(1, at('09:00:00'), at('09:30:00'), null);
    expect(await settled()).toMatchObject({ settledUpTo: at('09:58:01'), unsettled: 0 });
    await seen(2, at('09:40:00'), at('09:40:20'), null);
    expect(await settled()).toMatchObject({ settledUpTo: at('09:40:00'), unsettled: 1 });
    await seen(3, at('08:00:00'), at('09:20:00'), at('09:20:30'));
    expect(await settled()).toMatchObject({ settledUpTo: at('09:20:00'), unsettled: 2 });
    // The list, read later than any look can lag, still names it.
    await db.pool.query('update lockstep.record_version set listed_ms = deleted_ms + 60001 where record_id = 3');
    expect(await settled()).toMatchObject({ settledUpTo: at('09:40:00'), unsettled: 1 });
  });
});
