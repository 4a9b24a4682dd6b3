import { defaultCatchUpRules } from '@lockstep/completeness';
import { createCrmClient, createTokenSource, type CrmClient, CrmError, type ListedChannel, loadCrmConfig, memoryTokenStore } from '@lockstep/crm-client';
import { drivenClock, type DrivenClock, type Simulator, startSimulator } from '@lockstep/crm-simulator';
import { deals, leads } from '@lockstep/modules';
import { channelIdOf } from '@lockstep/notifications';
import type { CatchUpRow, ChannelRow, IncidentKind } from '@lockstep/postgres';
import { createLogger, createMetrics, realTime, type Time } from '@lockstep/telemetry';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { ChannelKeeper } from './channel-keeper.ts';
import { createPlannerMetrics } from './metrics.ts';
import { Reporter } from './reporter.ts';
import { elapsedWith } from './testing.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const secret = 'a secret of this test only';
const log = createLogger({ app: 'test', level: 'silent', isPretty: false });

let clock: DrivenClock;
let simulator: Simulator;
let client: CrmClient;
let calls: string[];
let rows: Map<string, ChannelRow>;
let read: CatchUpRow[];
let open: Set<string>;
let history: string[];
let keeper: ChannelKeeper;

beforeEach(async () => {
  clock = drivenClock(Date.parse('2026-05-04T10:00:00Z'));
  simulator = await startSimulator({ clock, records: { Leads: 1, Deals: 1 }, tokensPerTenMinutes: 0 });
  const config = loadCrmConfig({ CRM_API_URL: simulator.url, CRM_ACCOUNTS_URL: simulator.url, CRM_CLIENT_ID: 'simulator', CRM_CLIENT_SECRET: 'simulator', CRM_REFRESH_TOKEN: 'simulator' });
  const time: Time = { ...realTime, now: () => clock.nowMs(), elapsed: () => clock.nowMs() };
  client = createCrmClient({ config, tokens: createTokenSource({ config, store: memoryTokenStore(time), time }), retries: 0, time });
  [calls, rows, read, open, history] = [[], new Map(), [], new Set(), []];
  keeper = keeperOf();
});
afterEach(async () => {
  await client.close();
  await simulator.close();
});

/** A process that keeps the channels; the stores outlive it. */
function keeperOf({ ofSecret = secret, crm = client }: { ofSecret?: string; crm?: CrmClient } = {}): ChannelKeeper {
  const now = () => new Date(clock.nowMs());
  const metrics = createPlannerMetrics(createMetrics({ app: 'test' }));
  const key = (module: string, kind: IncidentKind): string => `${module} ${kind}`;
  const incidents = {
    open: (module: string, kind: IncidentKind) => {
      const isNew = !open.has(key(module, kind));
      open.add(key(module, kind));
      if (isNew) history.push(key(module, kind));
      return Promise.resolve(isNew);
    },
    close: (module: string, kind: IncidentKind) => Promise.resolve(open.delete(key(module, kind))),
  };
  const counted: CrmClient = {
    ...crm,
    enableNotifications: (wanted) => noted(`enable ${wanted.module}`, () => crm.enableNotifications(wanted)),
    disableNotifications: (ids) => noted('disable', () => crm.disableNotifications(ids)),
    listChannels: () => noted('list', () => crm.listChannels()),
  };
  return new ChannelKeeper(
    {
      channels: { all: () => Promise.resolve([...rows.values()]), save: (row) => Promise.resolve(void rows.set(row.module, row)) },
      catchUps: { readSince: (module, since) => Promise.resolve(read.filter((one) => one.module === module && one.wantedAt >= since)) },
      crm: counted,
      secret: ofSecret,
      publicUrl: 'http://127.0.0.1:9',
      catchUpRules: defaultCatchUpRules,
      now,
      time: elapsedWith(now),
      log,
      metrics,
    },
    new Reporter({ incidents, time: elapsedWith(now), log, metrics }),
  );
}

async function noted<T>(call: string, work: () => Promise<T>): Promise<T> {
  calls.push(call);
  return await work();
}

/** Rounds, one a minute. */
async function minutes(count: number, modules = [leads]): Promise<void> {
  for (let minute = 0; minute < count; minute += 1) {
    await clock.advance(MINUTE);
    for (const module of modules) await keeper.keep(module);
  }
}

const rowOf = (module: string): ChannelRow => rows.get(module) as ChannelRow;
const enablings = (): number => calls.filter((call) => call.startsWith('enable')).length;
const listed = (): Promise<number> => client.listChannels().then(({ length }) => length);

test('a channel that is refused is reported within a minute, with the cause, and closed once it is enabled', async () => {
  let isRefusing = true;
  keeper = keeperOf({ crm: { ...client, enableNotifications: (wanted) => (isRefusing ? Promise.reject(new CrmError('the scope was withdrawn', 'CRM_REFUSED')) : client.enableNotifications(wanted)) } });
  for (let second = 0; second < 60; second += 1) {
    await clock.advance(1_000);
    await keeper.keep(leads);
  }
  expect([...open]).toEqual(['Leads channel-lost']);
  isRefusing = false;
  await minutes(2);
  expect([enablings() < 12, [...open]]).toEqual([true, []]);
});

describe('reading back', () => {
  test('an enabled channel that the CRM silently lost is found by reading back and enabled again', async () => {
    await keeper.keep(leads);
    await minutes(1);
    simulator.loseChannel(rowOf('Leads').channelId);
    await minutes(59);
    expect([enablings(), await listed(), [...open]]).toEqual([1, 0, []]);
    await minutes(1);
    expect([enablings(), await listed(), [...open]]).toEqual([2, 1, ['Leads channel-lost']]);
    await minutes(2);
    expect([enablings(), [...open]]).toEqual([2, []]);
  });

  test('the list is read once for all modules: a minute after they were enabled, and then each hour', async () => {
    for (const module of [leads, deals]) await keeper.keep(module);
    await minutes(120, [leads, deals]);
    expect(calls).toEqual(['enable Leads', 'enable Deals', 'list', 'list']);
  });

  test('the next leader reads the list at once', async () => {
    await keeper.keep(leads);
    await minutes(5);
    simulator.loseChannel(rowOf('Leads').channelId);
    keeper = keeperOf();
    await keeper.keep(leads);
    expect([enablings(), [...open]]).toEqual([2, ['Leads channel-lost']]);
  });

  test('a channel that was changed by others is enabled as it ought to be', async () => {
    await keeper.keep(leads);
    await minutes(1);
    await client.enableNotifications({ channelId: rowOf('Leads').channelId, module: 'Leads', notifyUrl: 'http://127.0.0.1:9/elsewhere', token: 'other', expiresAt: rowOf('Leads').grantedUntil });
    await minutes(60);
    expect(history).toEqual(['Leads channel-lost']);
    expect(await client.listChannels()).toMatchObject([{ notifyUrl: expect.stringContaining('/notifications/') }]);
  });

  test('a channel that ends sooner than it was granted is extended', async () => {
    await keeper.keep(leads);
    await minutes(1);
    const [{ channelId, notifyUrl, token }] = (await client.listChannels()) as [ListedChannel];
    await client.enableNotifications({ channelId, module: 'Leads', notifyUrl: notifyUrl ?? '', token: token ?? '', expiresAt: new Date(clock.nowMs() + 3 * HOUR) });
    await minutes(60);
    expect([history, [...open]]).toEqual([['Leads channel-shortened'], ['Leads channel-shortened']]);
    await minutes(2);
    expect([enablings(), [...open]]).toEqual([2, []]);
  });

  test('a CRM that never lists what it grants is asked more and more seldom', async () => {
    keeper = keeperOf({ crm: { ...client, listChannels: () => Promise.reject(new CrmError('none', 'CRM_NOT_SUBSCRIBED')) } });
    await keeper.keep(leads);
    await minutes(240);
    expect(enablings()).toBeLessThan(12);
    expect([...open]).toEqual(['Leads channel-lost']);
  });

  test('a list that cannot be read changes nothing, and is requested again a minute later', async () => {
    keeper = keeperOf({ crm: { ...client, listChannels: () => Promise.reject(new CrmError('away', 'CRM_UNAVAILABLE')) } });
    await keeper.keep(leads);
    await minutes(1);
    for (let round = 0; round < 20; round += 1) expect((await keeper.keep(leads)).failure).toBeNull();
    await minutes(2);
    expect(calls).toEqual(['enable Leads', 'list', 'list', 'list']);
    expect(open.size).toBe(0);
  });
});

describe('renewal', () => {
  test('a granted hour is renewed after half an hour and reported', async () => {
    simulator.setFaults({ shortExpiry: true });
    await keeper.keep(leads);
    expect([...open]).toEqual(['Leads channel-shortened']);
    await minutes(29);
    expect(enablings()).toBe(1);
    await minutes(1);
    expect(enablings()).toBe(2);
    expect(rowOf('Leads').grantedUntil).toEqual(new Date(clock.nowMs() + HOUR));
    simulator.setFaults({ shortExpiry: false });
    await minutes(31);
    expect([enablings(), [...open]]).toEqual([3, []]);
  });

  test('a changed secret hands over without a gap', async () => {
    await keeper.keep(leads);
    const former = rowOf('Leads').channelId;
    const open: number[] = [];
    const watched = async <T>(work: Promise<T>): Promise<T> => await work.finally(() => open.push(simulator.counters().channels));
    keeper = keeperOf({ ofSecret: 'another secret of this test', crm: { ...client, enableNotifications: (wanted) => watched(client.enableNotifications(wanted)), disableNotifications: (ids) => watched(client.disableNotifications(ids)) } });
    await keeper.keep(leads);
    expect(open).toEqual([2, 1]);
    expect(rowOf('Leads').channelId).toBe(channelIdOf('another secret of this test', 'Leads'));
    expect(await client.listChannels()).toMatchObject([{ channelId: rowOf('Leads').channelId }]);
    expect(rowOf('Leads').channelId).not.toBe(former);
  });

  test('a hand-over that was cut off goes on, and an old channel that has ended already is no matter', async () => {
    await keeper.keep(leads);
    const former = rowOf('Leads').channelId;
    keeper = keeperOf({ ofSecret: 'another secret of this test', crm: { ...client, disableNotifications: (ids) => client.disableNotifications(ids).then(() => Promise.reject(new CrmError('cut', 'CRM_UNREACHABLE'))) } });
    expect(await keeper.keep(leads)).toMatchObject({ isOpened: true, failure: { code: 'CRM_UNREACHABLE' } });
    expect(rowOf('Leads').channelId).toBe(former);
    keeper = keeperOf({ ofSecret: 'another secret of this test' });
    expect(await keeper.keep(leads)).toEqual({ isOpened: true, failure: null });
    expect(await client.listChannels()).toMatchObject([{ channelId: rowOf('Leads').channelId }]);
  });

  test('a channel that ran out while it could not be renewed is reported, and requested at most once a minute', async () => {
    await keeper.keep(leads);
    const away = keeperOf({ crm: { ...client, enableNotifications: () => Promise.reject(new CrmError('away', 'CRM_UNAVAILABLE')) } });
    await clock.advance(rowOf('Leads').grantedUntil.getTime() - clock.nowMs());
    keeper = away;
    for (let second = 0; second < 600; second += 1) {
      await clock.advance(1_000);
      expect(await keeper.keep(leads)).toMatchObject({ isOpened: true, failure: { code: 'CRM_UNAVAILABLE' } });
    }
    expect(enablings()).toBeLessThan(20);
    expect([...open]).toEqual(['Leads channel-lost']);
    keeper = keeperOf();
    await keeper.keep(leads);
    await minutes(1);
    expect([...open]).toEqual([]);
  });
});

describe('changes without a notification', () => {
  /** A catch-up of four minutes, now. */
  const caughtUp = (result: { rows: number; seen: number; unhinted: number }): void => {
    const startedAt = new Date(clock.nowMs());
    const row = { module: 'Leads', wantedAt: startedAt, startedAt, from: new Date(clock.nowMs() - 4 * MINUTE), result: { ...result, deleted: 0 } };
    read.push(row as CatchUpRow);
  };
  async function catchUps(count: number, result: { rows: number; seen: number; unhinted: number }): Promise<void> {
    for (let at = 0; at < count; at += 1) {
      caughtUp(result);
      await minutes(2);
    }
  }
  const unnotified = { rows: 4, seen: 2, unhinted: 2 };
  const notified = { rows: 4, seen: 0, unhinted: 0 };

  test('a silent channel is subscribed again', async () => {
    await keeper.keep(leads);
    await catchUps(40, notified);
    expect([enablings(), [...open]]).toEqual([1, []]);
    for (let at = 0; at < 20 && enablings() === 1; at += 1) await catchUps(1, unnotified);
    expect([enablings(), [...open]]).toEqual([2, ['Leads channel-deaf']]);
    await catchUps(3, notified);
    expect([enablings(), [...open]]).toEqual([2, []]);
  });

  test('it is so at most once an hour', async () => {
    await keeper.keep(leads);
    await catchUps(31, unnotified);
    expect(enablings()).toBe(2);
    await catchUps(28, unnotified);
    expect(enablings()).toBe(2);
    await catchUps(30, unnotified);
    expect([enablings(), [...open]]).toEqual([3, ['Leads channel-deaf']]);
  });
});
