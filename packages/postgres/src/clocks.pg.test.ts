import { leads } from '@lockstep/modules';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { clockReports } from './clock-reports.ts';
import { databaseClock } from './database-clock.ts';
import type { Database } from './database.ts';
import { registerAudits } from './register-audits.ts';
import { registerReader } from './register.ts';
import { openTestDatabase } from './testing.ts';
import { watermarks } from './watermarks.ts';

let db: Database;
beforeAll(async () => {
  db = await openTestDatabase([leads], { poolSize: 3 });
});
afterAll(() => db.close());

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const YEAR_2098 = Date.parse('2098-12-31T23:58:00Z');

describe('claims that lie in the future', () => {
  // CRM time, and the database's, to the second: claims are whole seconds.
  let nowMs = 0;
  beforeEach(async () => {
    nowMs = Math.floor(Date.now() / 1000) * 1000;
    await db.pool.query('delete from lockstep.watermark');
  });
  /** @param notedAgoMs by the database's clock. */
  const claim = async (atMs: number, notedAgoMs: number, kind = 'changes'): Promise<void> =>
    void (await db.pool.query(`insert into lockstep.watermark (module, kind, at, topic_id, end_offsets, noted_at) values ('Leads', $1, $2, 't', '{0}', now() - make_interval(secs => $3::float8 / 1000))`, [kind, new Date(atMs), notedAgoMs]));
  const withdraw = () => watermarks(db).withdrawFuture('Leads', new Date(nowMs), MINUTE);
  const left = async (): Promise<number[]> => (await db.pool.query<{ ms: number }>('select (extract(epoch from at) * 1000)::float8 as ms from lockstep.watermark order by at desc')).rows.map(({ ms }) => ms);

  test('none: nothing is withdrawn', async () => {
    await claim(nowMs - 2 * MINUTE, 0);
    await claim(nowMs + MINUTE / 2, 0);
    expect(await withdraw()).toEqual([]);
    expect(await left()).toHaveLength(2);
  });

  test('a claim of 2098 is withdrawn, and the last believable one stands', async () => {
    await claim(nowMs - 14 * MINUTE, 12 * MINUTE);
    await claim(YEAR_2098, 10 * MINUTE);
    await claim(nowMs - HOUR, HOUR, 'everything');
    expect(await withdraw()).toEqual([{ kind: 'changes', at: new Date(YEAR_2098) }]);
    expect(await left()).toEqual([nowMs - 14 * MINUTE, nowMs - HOUR]);
  });

  test('after the CRM was set back by an hour, nothing stands that was claimed of the time that comes again', async () => {
    // Set back five minutes ago: the last claim was noted six minutes ago, and lies at what was then two minutes ago.
    for (const ago of [6, 30, 59, 66, 70, 120]) await claim(nowMs + HOUR - (ago + 2) * MINUTE, ago * MINUTE);
    await withdraw();
    expect(await left()).toEqual([nowMs - 10 * MINUTE - 2 * MINUTE, nowMs - 62 * MINUTE].filter((at) => at <= nowMs - 8 * MINUTE));
  });

  test('a database whose clock was set back since only withdraws less, and none that lies in the future stays', async () => {
    await claim(nowMs + 30 * MINUTE, -HOUR);
    await claim(nowMs - 10 * MINUTE, -HOUR);
    await withdraw();
    expect(await left()).toEqual([nowMs - 10 * MINUTE]);
  });
});

describe('register entries that lie in the future', () => {
  const nowMs = Date.now();
  const put = async (id: number, observedMs: number | null, deletedMs: number | null): Promise<void> =>
    void (await db.pool.query(`insert into lockstep.record_version (module, record_id, modified_ms, observed_ms, deleted_ms, log_partition, log_offset) values ('Leads', $1, $2, $3, $4, 0, 0)`, [id, observedMs === null ? null : 1, observedMs, deletedMs]));

  test('are cut to now, and their records looked at once ε has passed; what is right stays, and a second run changes nothing', async () => {
    await put(1, YEAR_2098, null);
    await put(2, nowMs - HOUR, YEAR_2098);
    await put(3, nowMs - HOUR, nowMs - 2 * HOUR);
    await put(4, null, YEAR_2098);
    expect(await registerAudits(db).cutFuture('Leads', new Date(nowMs), MINUTE)).toBe(3);
    const { rows } = await db.pool.query<{ id: number; observed: string; deleted: string }>('select record_id::int as id, observed_ms as observed, deleted_ms as deleted from lockstep.record_version order by record_id');
    expect(rows.map(({ id, observed, deleted }) => [id, observed, deleted].map((text) => (text === null ? null : Number(text))))).toEqual([
      [1, nowMs, null],
      [2, nowMs - HOUR, nowMs],
      [3, nowMs - HOUR, nowMs - 2 * HOUR],
      [4, null, nowMs],
    ]);
    const looks = await db.pool.query<{ id: number; waits: number }>('select record_id::int as id, extract(epoch from due_at - now())::float8 as waits from lockstep.look_wanted order by record_id');
    expect(looks.rows.map(({ id }) => id)).toEqual([1, 2, 4]);
    for (const { waits } of looks.rows) expect(waits).toBeGreaterThan(60);
    expect(await registerAudits(db).cutFuture('Leads', new Date(nowMs), MINUTE)).toBe(0);
  });

  test('are cut of what is parked too: a deletion of that time would keep the next one from the log, and a look of it would outlive the record', async () => {
    await db.pool.query('truncate lockstep.record_version, lockstep.look_wanted, lockstep.parked');
    const park = (offset: number, observedMs: number | null, deletedMs: number | null) =>
      db.pool.query(`insert into lockstep.parked (module, topic_id, topic, partition, log_offset, code, cause, retryable, record_id, observed_ms, deleted_ms, resolved_at) values ('Leads', 't', 't', 0, $1, '23503', 'c', true, '7', $2, $3, now())`, [offset, observedMs, deletedMs]);
    const nowMs = Date.now();
    await park(1, YEAR_2098, null);
    await park(2, null, YEAR_2098);
    await park(3, nowMs - HOUR, null);
    expect(await registerAudits(db).cutFuture('Leads', new Date(nowMs), MINUTE)).toBe(2);
    expect((await registerReader(db).parked('Leads', ['7'])).get('7')).toEqual({ deletedMs: nowMs, contentMs: null });
    const { rows } = await db.pool.query<{ observed: string | null }>('select observed_ms as observed from lockstep.parked order by log_offset');
    expect(rows.map(({ observed }) => (observed === null ? null : Number(observed)))).toEqual([nowMs, null, nowMs - HOUR]);
    expect(await registerAudits(db).cutFuture('Leads', new Date(nowMs), MINUTE)).toBe(0);
  });
});

describe('the clocks', () => {
  test('that the processes report are kept by role, with how far the database is ahead', async () => {
    const note = { differs: null, dateAheadMs: null, wallAheadMs: 3, refused: 0, now: new Date(Date.now() - HOUR) };
    await clockReports(db).note('reader', note);
    await clockReports(db).note('reader', { ...note, differs: 'date', dateAheadMs: HOUR, refused: 2 });
    const [row, ...others] = await clockReports(db).all();
    expect(others).toEqual([]);
    expect(row).toMatchObject({ role: 'reader', differs: 'date', dateAheadMs: HOUR, wallAheadMs: 3, refused: 2 });
    expect(Math.abs((row?.databaseAheadMs ?? 0) - HOUR)).toBeLessThan(60_000);
    expect(row?.agoMs).toBeLessThan(60_000);
  });

  test('the database\'s goes on between two readings by the monotonic clock, whatever the host\'s says', async () => {
    let elapsedMs = 5;
    const clock = await databaseClock(db, { elapsed: () => elapsedMs });
    const before = clock.now().getTime();
    elapsedMs += 1_000;
    expect(clock.now().getTime() - before).toBe(1_000);
    await clock.read();
    expect(Math.abs(clock.now().getTime() - before)).toBeLessThan(60_000);
  });
});
