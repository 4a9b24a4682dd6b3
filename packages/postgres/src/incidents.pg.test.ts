import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { catchUps } from './catch-ups.ts';
import type { Database } from './database.ts';
import { deletionBreaker } from './deletion-breaker.ts';
import { incidents } from './incidents.ts';
import { noteLostClaims } from './standing-claims.ts';
import { openTestDatabase } from './testing.ts';

let db: Database;

beforeAll(async () => {
  db = await openTestDatabase([{ slug: 'leads', apiName: 'Leads' }]);
});
afterAll(() => db.close());
beforeEach(async () => {
  await db.pool.query('truncate lockstep.incident, lockstep.held_deletions, lockstep.catch_up cascade');
});

describe('incidents', () => {
  const open = (kind: 'channel-lost' | 'catch-up-late', details = 'why', module = 'Leads') => incidents(db).open(module, kind, details);

  test('one that is found again is the same one, with its latest details', async () => {
    expect(await open('channel-lost', 'first')).toBe(true);
    const [first] = await incidents(db).list();
    expect(await open('channel-lost', 'second')).toBe(false);
    const [again, ...others] = await incidents(db).list();
    expect(others).toEqual([]);
    expect(again).toEqual({ ...first, details: 'second', lastSeenAt: expect.any(Date) });
    expect(again?.lastSeenAt.getTime()).toBeGreaterThanOrEqual(first?.lastSeenAt.getTime() ?? 0);
  });

  test('modules and kinds have their own, the organisation too', async () => {
    for (const module of ['Leads', 'Deals', '']) expect(await open('channel-lost', 'why', module)).toBe(true);
    expect(await open('catch-up-late')).toBe(true);
    expect(await incidents(db).list()).toHaveLength(4);
  });

  test('one that is over is listed only when all are requested; when it comes again it is a new one', async () => {
    await open('channel-lost');
    expect(await incidents(db).close('Leads', 'channel-lost')).toBe(true);
    expect(await incidents(db).close('Leads', 'channel-lost')).toBe(false);
    expect(await incidents(db).list()).toEqual([]);
    expect(await open('channel-lost')).toBe(true);
    expect((await incidents(db).list({ all: true })).map(({ closedAt }) => closedAt)).toEqual([null, expect.any(Date)]);
  });

  test('the newest come first, no more than wanted', async () => {
    for (let at = 0; at < 3; at += 1) {
      await open('channel-lost', String(at));
      await incidents(db).close('Leads', 'channel-lost');
    }
    expect((await incidents(db).list({ all: true, limit: 2 })).map(({ details }) => details)).toEqual(['2', '1']);
  });
});

describe('held deletions', () => {
  const held = async () => (await deletionBreaker(db).held()).map(({ deletions }) => deletions);

  test('are held until a person releases them, and not again when the hour of that is over', async () => {
    expect(await deletionBreaker(db).admits('Leads', 101)).toBe(false);
    expect(await held()).toEqual([101]);
    expect(await deletionBreaker(db).release('Leads')).toBe(true);
    expect([await held(), await deletionBreaker(db).admits('Leads', 101)]).toEqual([[], true]);
    await db.pool.query(`update lockstep.held_deletions set released_until = now() - interval '1 second'`);
    expect(await held()).toEqual([]);
    expect(await deletionBreaker(db).admits('Leads', 102)).toBe(false);
    expect(await held()).toEqual([102]);
  });

  test('are forgotten once a whole list was let through, for they were taken back in the CRM', async () => {
    await deletionBreaker(db).admits('Leads', 101);
    await deletionBreaker(db).passed('Leads');
    expect(await held()).toEqual([]);
    expect(await deletionBreaker(db).release('Leads')).toBe(false);
  });

  test('not even one is let through while the register is being filled from the log after the loss of the database', async () => {
    const claim = { at: new Date('2026-05-04T09:00:00Z'), topicId: 'a-topic', endOffsets: [3] };
    await db.pool.query(`insert into lockstep.mapping (module, fingerprint) values ('Leads', 'x') on conflict do nothing`);
    await noteLostClaims(db, 'Leads', { changes: null, everything: { ...claim, expectedRows: 3 } });
    await expect(deletionBreaker(db).admits('Leads', 0)).rejects.toMatchObject({ code: 'REPLAY_UNDER_WAY', retryable: true });
    await db.pool.query(`insert into lockstep.projection_offset (topic_id, topic, partition, next_offset) values ('a-topic', 'leads', 0, 3)`);
    expect(await deletionBreaker(db).admits('Leads', 1)).toBe(true);
    await db.pool.query('truncate lockstep.projection_offset, lockstep.watermark, lockstep.bulk_run cascade');
  });

  test('a release outlives the lists that it lets through', async () => {
    await deletionBreaker(db).admits('Leads', 101);
    await deletionBreaker(db).release('Leads');
    await deletionBreaker(db).passed('Leads');
    expect(await deletionBreaker(db).admits('Leads', 101)).toBe(true);
  });
});

describe('catch-ups that were read', () => {
  test('are those wanted since a time, oldest first, without the failed and the open ones', async () => {
    const store = catchUps(db);
    const plan = { from: new Date(0), deletedFrom: new Date(0), isSecondPass: false, isRestoreScan: false };
    const read = async (rows: number): Promise<void> => {
      await store.want('Leads', plan);
      const [one] = await store.open();
      await store.read(one?.id ?? 0, new Date(1), { rows, seen: 0, unhinted: 0, deleted: 0 });
      await store.complete(one?.id ?? 0);
    };
    await read(1);
    await db.pool.query(`update lockstep.catch_up set wanted_at = now() - interval '1 hour'`);
    await read(2);
    await store.want('Leads', plan);
    await store.failed((await store.open())[0]?.id ?? 0, 'the CRM was away');
    await read(3);
    await store.want('Leads', plan);
    const since = async (minutes: number) => (await store.readSince('Leads', new Date(Date.now() - minutes * 60_000))).map(({ result }) => result.rows);
    expect([await since(50), await since(70)]).toEqual([[2, 3], [1, 2, 3]]);
    expect(await store.readSince('Deals', new Date(0))).toEqual([]);
  });
});
