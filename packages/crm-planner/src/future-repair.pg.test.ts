import { defaultCatchUpRules } from '@lockstep/completeness';
import type { CrmTime } from '@lockstep/crm-client';
import { createTestDatabase, type TestDatabase } from '@lockstep/local-stack';
import { leads } from '@lockstep/modules';
import { bulkRuns, connect, type Database, incidents, migrate, registerAudits, watermarks } from '@lockstep/postgres';
import { createLogger, createMetrics } from '@lockstep/telemetry';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { FutureRepair } from './future-repair.ts';
import { createPlannerMetrics } from './metrics.ts';
import { Reporter } from './reporter.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const YEAR_2098 = new Date('2098-12-31T23:58:00Z');
const log = createLogger({ app: 'test', level: 'silent', isPretty: false });

let testDatabase: TestDatabase;
let db: Database;
let elapsedMs: number;
let crmTime: CrmTime;
let repair: FutureRepair;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  db = await connect({ url: testDatabase.url, poolSize: 3 });
  await migrate(db, [leads]);
});
afterAll(async () => {
  await db.close();
  await testDatabase.drop();
});
beforeEach(async () => {
  await db.pool.query('truncate lockstep.watermark, lockstep.record_version, lockstep.incident, lockstep.bulk_run, lockstep.bulk_page, lockstep.look_wanted, lockstep.catch_up cascade');
  const nowMs = Math.floor(Date.now() / 1000) * 1000;
  [elapsedMs, crmTime] = [0, { earliestMs: nowMs, latestMs: nowMs, stampedUpToMs: nowMs, isFirm: true }];
  const time = { elapsed: () => elapsedMs };
  const reporter = new Reporter({ incidents: incidents(db), time, log, metrics: createPlannerMetrics(createMetrics({ app: 'test' })) });
  repair = new FutureRepair({ watermarks: watermarks(db), runs: bulkRuns(db), audits: registerAudits(db), crm: { time: () => crmTime }, catchUpRules: defaultCatchUpRules, time, log }, reporter);
});

const claimed = (at: Date) => watermarks(db).note({ module: 'Leads', kind: 'changes', at, topicId: 't', endOffsets: [0] });
const watermark = () => watermarks(db).current('Leads', 'changes');
const incidentKinds = async (): Promise<string[]> => (await incidents(db).list()).map(({ kind }) => kind);
const looked = (observed: Date): Promise<unknown> =>
  db.pool.query(`insert into lockstep.record_version (module, record_id, modified_ms, observed_ms, log_partition, log_offset) values ('Leads', 1, 1, $1, 0, 0)`, [observed.getTime()]);
const observed = async (): Promise<number> => Number((await db.pool.query<{ ms: string }>('select observed_ms as ms from lockstep.record_version')).rows[0]?.ms);

describe('what lies in the future', () => {
  test('is found at the start: the last believable claim stands, looks are cut to now, and an incident is opened', async () => {
    const believable = new Date(crmTime.earliestMs - 5 * MINUTE);
    await claimed(believable);
    await claimed(YEAR_2098);
    await looked(YEAR_2098);
    await repair.repair(leads);
    expect(await watermark()).toEqual(believable);
    expect(await observed()).toBe(crmTime.latestMs);
    expect(await incidentKinds()).toEqual(['future-repaired']);
    elapsedMs += HOUR + MINUTE;
    await repair.repair(leads);
    expect(await incidentKinds()).toEqual([]);
  });

  test('waits until two sources of time agree', async () => {
    await claimed(YEAR_2098);
    crmTime = { ...crmTime, isFirm: false };
    await repair.repair(leads);
    expect(await watermark()).toEqual(YEAR_2098);
  });

  test('nothing: nothing is written, and no incident is opened', async () => {
    await claimed(new Date(crmTime.earliestMs - 2 * MINUTE));
    await looked(new Date(crmTime.latestMs));
    expect(await repair.repair(leads)).toBe(false);
    expect([await watermark(), await observed(), await incidentKinds()]).toEqual([new Date(crmTime.earliestMs - 2 * MINUTE), crmTime.latestMs, []]);
  });

  test('later than now by the earliest source only: claims are withdrawn, looks are not cut', async () => {
    await claimed(new Date(crmTime.earliestMs - 2 * MINUTE));
    await looked(new Date(crmTime.earliestMs));
    crmTime = { ...crmTime, earliestMs: crmTime.earliestMs - HOUR };
    await repair.repair(leads);
    expect([await watermark(), await observed()]).toEqual([null, crmTime.latestMs]);
  });

  test('is looked for again each hour in the register, and each five seconds among the claims', async () => {
    await repair.repair(leads);
    await looked(YEAR_2098);
    elapsedMs += MINUTE;
    await repair.repair(leads);
    expect(await observed()).toBe(YEAR_2098.getTime());
    elapsedMs += HOUR;
    await repair.repair(leads);
    expect(await observed()).toBe(crmTime.latestMs);
    await claimed(YEAR_2098);
    elapsedMs += 5_000;
    await repair.repair(leads);
    expect(await watermark()).toBeNull();
  });

  test('a job that was created in the future was created when its run began: catch-ups have a beginning', async () => {
    const runs = bulkRuns(db);
    await runs.start('Leads', 'initial');
    const [page] = await runs.openPages();
    await runs.requested(page as NonNullable<typeof page>, { jobId: '1', createdTime: YEAR_2098 });
    await repair.repair(leads);
    const [run] = await runs.all();
    expect(Math.abs((run?.firstJobCreatedAt?.getTime() ?? 0) - crmTime.earliestMs)).toBeLessThan(MINUTE);
    expect((await runs.openPages())[0]?.jobCreatedAt).toEqual(run?.firstJobCreatedAt);
  });

  test('all deletions are read once afterwards, and again when the time that comes again is over', async () => {
    await claimed(new Date(crmTime.earliestMs + HOUR));
    const wanted: number[] = [];
    for (let minute = 0; minute < 90; minute += 1) {
      if (await repair.repair(leads)) wanted.push(minute);
      elapsedMs += MINUTE;
    }
    expect(wanted).toEqual([12, 13, 14, 72, 73, 74]);
  });
});
