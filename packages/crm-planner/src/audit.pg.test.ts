import { createTestDatabase, type TestDatabase } from '@lockstep/local-stack';
import { deals, leads, type ModuleDefinition } from '@lockstep/modules';
import { bulkRuns, connect, type Database, incidents, migrate, registerAudits, watermarks } from '@lockstep/postgres';
import { createLogger, createMetrics } from '@lockstep/telemetry';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { Auditor } from './audit.ts';
import { createPlannerMetrics } from './metrics.ts';
import { Reporter } from './reporter.ts';
import { crmAt, elapsedWith } from './testing.ts';

const at = (text: string): Date => new Date(`2026-05-04T${text}Z`);

let testDatabase: TestDatabase;
let db: Database;
let now: Date;
let inCrm: number;
let logEnd: number;
let auditor: Auditor;

beforeAll(async () => {
  testDatabase = await createTestDatabase({ legacySchema: true });
  db = await connect({ url: testDatabase.url, poolSize: 4 });
  await migrate(db, [leads, deals]);
  await db.pool.query(`insert into lockstep.mapping (module, fingerprint) values ('Leads', 'x'), ('Deals', 'x')`);
});
afterAll(async () => {
  await db.close();
  await testDatabase.drop();
});
beforeEach(async () => {
  await db.pool.query('truncate public.leads cascade; truncate lockstep.record_version, lockstep.parked, lockstep.incident, lockstep.watermark, lockstep.projection_offset, lockstep.bulk_run, lockstep.bulk_page, lockstep.catch_up cascade');
  await db.pool.query(`insert into lockstep.projection_offset (topic_id, partition, topic, next_offset) values ('t', 0, 'crm.records.leads', 0)`);
  [now, inCrm, logEnd] = [at('12:00:00'), 0, 0];
  auditor = auditorOf(() => Promise.resolve(inCrm));
});

function auditorOf(countRecords: () => Promise<number>): Auditor {
  const log = createLogger({ app: 'test', level: 'silent', isPretty: false });
  const clock = { time: elapsedWith(() => now), log };
  const reporter = new Reporter({ ...clock, incidents: incidents(db), metrics: createPlannerMetrics(createMetrics({ app: 'test' })) });
  return new Auditor({ ...clock, runs: bulkRuns(db), watermarks: watermarks(db), audits: registerAudits(db), crm: { ...crmAt(() => now), countRecords } }, reporter);
}

/** Records with a row, all looked at at this time. */
async function seen(ids: readonly number[], { observed, modified = at('09:00:00'), module = leads }: { observed: Date; modified?: Date; module?: ModuleDefinition }): Promise<void> {
  await db.pool.query(
    `insert into lockstep.record_version_${module.slug} (module, record_id, modified_ms, observed_ms, content_hash, log_partition, log_offset)
     select $1, id, $3, $4, md5('x')::uuid, 0, 0 from unnest($2::bigint[]) as u (id) on conflict (record_id) do update set modified_ms = excluded.modified_ms, observed_ms = excluded.observed_ms, hidden_since = null`,
    [module.apiName, ids, modified.getTime(), observed.getTime()],
  );
  await db.pool.query(`insert into public.${module.table.name} (id) select unnest($1::bigint[]) on conflict do nothing`, [ids]);
}

/** A run over the whole module whose one job was created at 11:00 and gave so many rows; all of it is claimed. */
async function readEverything(rows: number): Promise<void> {
  const runs = bulkRuns(db);
  await runs.start('Leads', 'refresh');
  const [page] = (await runs.openPages()) as [NonNullable<Awaited<ReturnType<typeof runs.openPages>>[0]>];
  await runs.requested(page, { jobId: '1', createdTime: at('11:00:00') });
  await runs.ready(page, { count: rows, moreRecords: false });
  await runs.published(page, { rows, ids: null });
  await watermarks(db).note({ module: 'Leads', kind: 'everything', at: at('11:00:00'), topicId: 't', endOffsets: [logEnd] });
}

const claimed = (module: string, time: Date) => watermarks(db).note({ module, kind: 'changes', at: time, topicId: 't', endOffsets: [logEnd] });
const hidden = async (): Promise<number[]> => (await db.pool.query<{ id: number }>('select record_id::int as id from lockstep.record_version where hidden_since is not null order by 1')).rows.map(({ id }) => id);
const rowsLeft = async (): Promise<unknown> => (await db.pool.query<{ n: number }>('select count(*)::int as n from public.leads where deleted_at is null')).rows[0]?.n;
const reported = async (): Promise<string[]> => (await incidents(db).list()).map(({ module, kind, details }) => `${module} ${kind}: ${details}`);

describe('what the reading of a whole module has not met', () => {
  test('Sharing rule narrows, many leads invisible: no row is removed, and an incident is open until they are visible again', async () => {
    await seen([1, 2, 3, 4, 5], { observed: at('09:30:00') });
    await seen([1, 2], { observed: at('11:00:00') });
    await readEverything(2);
    await auditor.audit(leads);
    expect(await hidden()).toEqual([3, 4, 5]);
    expect(await rowsLeft()).toBe(5);
    expect(await reported()).toEqual([expect.stringMatching(/^Leads records-hidden: 3 records that are not deleted/)]);
    await seen([3, 4, 5], { observed: at('12:01:00') });
    now = at('12:02:00');
    await auditor.audit(leads);
    expect(await reported()).toEqual([]);
  });

  test('a bulk job completes with count 0: no row is removed, and an incident is opened', async () => {
    await seen([1, 2, 3], { observed: at('09:30:00') });
    await readEverything(0);
    await auditor.audit(leads);
    expect([await hidden(), await rowsLeft()]).toEqual([[1, 2, 3], 3]);
    expect(await reported()).toEqual([expect.stringMatching(/records-hidden: 3 records/)]);
  });

  test('is hidden only once the projector has applied all that was read', async () => {
    await seen([1, 2], { observed: at('09:30:00') });
    logEnd = 7;
    await readEverything(1);
    await auditor.audit(leads);
    expect(await hidden()).toEqual([]);
    await seen([1], { observed: at('11:00:00') });
    await db.pool.query('update lockstep.projection_offset set next_offset = 7');
    await auditor.audit(leads);
    expect(await hidden()).toEqual([2]);
  });

  test('is not hidden when it was looked at meanwhile or just before, is deleted, or is parked', async () => {
    await seen([1], { observed: at('11:30:00'), modified: at('11:30:00') });
    await seen([2], { observed: at('10:59:30') });
    await seen([3, 4, 5], { observed: at('09:30:00') });
    await db.pool.query(`update lockstep.record_version set deleted_ms = $1 where record_id = 3`, [at('10:00:00').getTime()]);
    await db.pool.query(`insert into lockstep.parked (module, topic_id, topic, partition, log_offset, record_id, code, cause, retryable) values ('Leads', 't', 't', 0, 1, '4', '22001', 'too long', false)`);
    await readEverything(0);
    await auditor.audit(leads);
    expect(await hidden()).toEqual([5]);
  });
});

describe('the count of the CRM', () => {
  const nextHour = async (): Promise<void> => {
    now = new Date(now.getTime() + 3_600_000);
    await claimed('Deals', new Date(now.getTime() - 120_000));
    await auditor.audit(deals);
  };

  test('that differs from the register twice in a row is reported with both numbers, until it is equal', async () => {
    await seen([1, 2, 3], { observed: at('09:30:00'), module: deals });
    inCrm = 4;
    await nextHour();
    expect(await reported()).toEqual([]);
    await nextHour();
    expect(await reported()).toEqual(['Deals count-differs: the CRM counts 4 records, the register holds 3 that are alive and visible']);
    inCrm = 3;
    await nextHour();
    expect(await reported()).toEqual([]);
  });

  test('is not requested more than once an hour, nor while the projector has not reached what is claimed', async () => {
    let asked = 0;
    auditor = auditorOf(() => Promise.resolve(asked++));
    logEnd = 5;
    await nextHour();
    expect(asked).toBe(0);
    await db.pool.query('update lockstep.projection_offset set next_offset = 5');
    now = new Date(now.getTime() + 60_000);
    await auditor.audit(deals);
    await auditor.audit(deals);
    expect(asked).toBe(1);
  });

  test('is explained by what changed since the last catch-up', async () => {
    await seen([1, 2], { observed: at('09:30:00'), module: deals });
    inCrm = 6;
    await seen([3, 4], { observed: at('12:59:00'), modified: at('12:59:00'), module: deals });
    await nextHour();
    await seen([3, 4], { observed: at('13:59:00'), modified: at('13:59:00'), module: deals });
    await nextHour();
    expect(await reported()).toEqual([]);
  });

  test('is not missed when the CRM will not count', async () => {
    auditor = auditorOf(() => Promise.reject(new Error('no scope')));
    await nextHour();
    await nextHour();
    expect(await reported()).toEqual([]);
  });
});

test('a modified time that lies in the future is reported, and no longer once it was repaired', async () => {
  await seen([1], { observed: at('09:30:00'), modified: new Date('2030-01-01T00:00:00Z') });
  await claimed('Leads', at('11:58:00'));
  await auditor.audit(leads);
  expect(await reported()).toEqual([expect.stringMatching(/^Leads modified-in-future: 1 records/)]);
  await db.pool.query('update lockstep.record_version set version_ms = modified_ms, modified_ms = $1', [at('12:30:00').getTime()]);
  now = at('13:00:01');
  await auditor.audit(leads);
  expect(await reported()).toEqual([]);
});
