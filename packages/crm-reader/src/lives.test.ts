import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { createCrmClient, createTokenSource, type CrmClient, loadCrmConfig, memoryTokenStore } from '@lockstep/crm-client';
import { type DrivenClock, drivenClock, type Simulator, startSimulator, type TruthRecord } from '@lockstep/crm-simulator';
import { coverageOf, deals, leads, type ModuleDefinition, modules, products, topicOf } from '@lockstep/modules';
import type { CatchUpRow, ParkedEntry } from '@lockstep/postgres';
import { decodeEvent, fold, isAlive, isSettled, type Observation, rowOf } from '@lockstep/record-log';
import { createLogger, createMetrics } from '@lockstep/telemetry';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { downloadedResults } from './bulk/bulk-results.ts';
import { publishRows } from './bulk/publish-rows.ts';
import { readCatchUps } from './catch-up/catch-up.ts';
import { readWindow } from './catch-up/read-window.ts';
import { readDeletedList } from './deleted-list.ts';
import { Looker } from './looks/looker.ts';
import { createReaderMetrics } from './metrics.ts';
import { asideInMemory } from './testing.ts';

const MINUTE = 60_000;
const log = createLogger({ app: 'test', level: 'silent', isPretty: false });
const deadLetters = {
  put: async (letters: readonly unknown[]) => {
    if (letters.length > 0) throw new Error('nothing may be unreadable here');
  },
};

let clock: DrivenClock;
let simulator: Simulator;
let crm: CrmClient;
let folder: string;
let stopping: AbortController;
/** The log of each topic, and what is wanted to be looked at. */
let logs: Map<string, Observation[]>;
let wanted: [module: string, id: string, reason: string][];

beforeEach(async () => {
  clock = drivenClock(Date.UTC(2026, 0, 1, 10));
  folder = await mkdtemp(join(tmpdir(), 'lockstep-lives-'));
  simulator = await startSimulator({ clock, records: { Leads: 20, Deals: 5, Products: 5 }, jobDelayMs: 0, downloadsPerMinute: 0, tokensPerTenMinutes: 0 });
  const config = loadCrmConfig({ CRM_API_URL: simulator.url, CRM_ACCOUNTS_URL: simulator.url, CRM_CLIENT_ID: 'simulator', CRM_CLIENT_SECRET: 'simulator', CRM_REFRESH_TOKEN: 'simulator' });
  crm = createCrmClient({ config, tokens: createTokenSource({ config, store: memoryTokenStore() }) });
  stopping = new AbortController();
  [logs, wanted] = [new Map(), []];
});
afterEach(async () => {
  stopping.abort();
  await crm.close();
  await simulator.close();
  await rm(folder, { recursive: true, force: true });
});

const observations = (module: ModuleDefinition, id: string): Observation[] => (logs.get(topicOf(module)) ?? []).filter((one) => one.id === id);
const types = (module: ModuleDefinition, id: string): string[] => observations(module, id).map(({ type }) => type);

/** The row as the fold of the log has it: its time, and the named field. */
function row(module: ModuleDefinition, id: string, field: string): unknown {
  const folded = rowOf(fold(observations(module, id)));
  return folded === null ? null : { modified: new Date(folded.modifiedMs).toISOString(), [field]: folded.content.fields[module.fields.findIndex((one) => one.field === field)] };
}
const inCrm = (module: ModuleDefinition, id: string, field: string): unknown => {
  const record: TruthRecord = simulator.record(module.apiName, id);
  return { modified: new Date(record.Modified_Time).toISOString(), [field]: record[field] };
};

/** The earliest deletion since a time that is in doubt. */
function oldestDoubt(apiName: string, since: Date): Date | null {
  const module = modules.find((one) => one.apiName === apiName) as ModuleDefinition;
  const registers = [...Map.groupBy(logs.get(topicOf(module)) ?? [], ({ id }) => id).values()].map((all) => fold(all));
  const doubts = registers.filter((one) => (one.deletedMs ?? Number.NEGATIVE_INFINITY) >= since.getTime() && !isAlive(one) && !isSettled(one)).map(({ deletedMs }) => deletedMs as number);
  return doubts.length === 0 ? null : new Date(Math.min(...doubts));
}

/** As if everything published were applied at once. */
const register = {
  known: async (apiName: string, ids: readonly string[]) => {
    const module = modules.find((one) => one.apiName === apiName) as ModuleDefinition;
    return new Map(ids.filter((id) => observations(module, id).length > 0).map((id) => {
      const { live, deletedMs, listedMs } = fold(observations(module, id));
      return [id, { modifiedMs: live?.modifiedMs ?? null, ...(live?.versionMs === undefined ? {} : { versionMs: live.versionMs }), observedMs: live?.observedMs ?? null, hash: live?.hash ?? null, deletedMs: deletedMs ?? null, listedMs: listedMs ?? null }];
    }));
  },
  parked: async () => new Map<string, ParkedEntry>(),
  hidden: async () => undefined,
  doubtful: async () => [],
  oldestDoubt: async (apiName: string, since: Date) => oldestDoubt(apiName, since),
  deleted: async (apiName: string, since: Date) => {
    const module = modules.find((one) => one.apiName === apiName) as ModuleDefinition;
    const isDeleted = (id: string): boolean => {
      const folded = fold(observations(module, id));
      return !isAlive(folded) && (folded.deletedMs ?? Number.NEGATIVE_INFINITY) >= since.getTime();
    };
    return [...new Set((logs.get(topicOf(module)) ?? []).map(({ id }) => id))].filter(isDeleted);
  },
};
const producer = {
  send: async (topic: string, messages: Iterable<{ readonly value: Buffer | string | null }>) => {
    const events = [...messages].map(({ value }) => decodeEvent(String(value))).filter((event) => event.type !== 'CoverageDeclared');
    logs.set(topic, [...(logs.get(topic) ?? []), ...events]);
  },
};
/** Deals that point to a product, as their rows have it. */
const referrers = {
  to: async (module: string, ids: readonly string[]) => {
    const at = deals.fields.findIndex(({ refersTo }) => refersTo === module);
    const pointing = [...new Set((logs.get(topicOf(deals)) ?? []).map(({ id }) => id))].filter((id) => ids.includes(String(rowOf(fold(observations(deals, id)))?.content.fields[at])));
    return pointing.length === 0 ? [] : [{ module: 'Deals', ids: pointing }];
  },
};
const looks = { want: async (module: string, ids: readonly string[], reason: string) => void wanted.push(...ids.map((id): [string, string, string] => [module, id, reason])) };
const deps = () => ({ crm, producer, register, referrers, looks, breaker: { admits: async () => true, passed: async () => undefined }, deadLetters, aside: asideInMemory(), metrics: createReaderMetrics(createMetrics({ app: 'test' })), log, epsilonMs: MINUTE, signal: stopping.signal });

async function readAll(module: ModuleDefinition): Promise<void> {
  const { jobId, createdTime } = await crm.createBulkRead({ module: module.apiName, fields: [...coverageOf(module).fields, 'Modified_Time'], page: 1, pageToken: null, callbackUrl: null });
  while ((await crm.bulkReadStatus(jobId)).state === 'running');
  const { observed, rows, rowCount = 0 } = await downloadedResults({ crm, folder }).open(jobId, stopping.signal);
  await publishRows({ ...deps(), rows, promised: rowCount, jobId, reading: 'run 1, page 1', module, span: { lowerMs: createdTime.getTime(), upperMs: observed.upperMs } });
}

async function lookAt(module: ModuleDefinition, id: string): Promise<void> {
  const looker = new Looker({ ...deps(), module, intervalMs: 0 });
  const answered = Promise.withResolvers<void>();
  looker.add({ hint: { module: module.apiName, id, operation: 'update', channelId: '1', serverTimeMs: null, receivedMs: 0 }, name: 'hint 0/0', answered: answered.resolve });
  await answered.promise;
}

const catchUp = (module: ModuleDefinition, minutes: number) => readWindow(deps(), module, new Date(clock.nowMs() - minutes * MINUTE), 'catch-up 1');

/** Reads one catch-up, from now on unless it says otherwise. */
async function readOne(catchUp: Partial<CatchUpRow>): Promise<void> {
  const now = new Date(clock.nowMs());
  const wantedNow: CatchUpRow = { id: 1, module: 'Leads', state: 'wanted', from: now, deletedFrom: now, isSecondPass: false, isRestoreScan: false, scanFrom: null, scannedFrom: null, scanFailure: null, wantedAt: now, startedAt: null, readUpTo: null, bulkRunId: null, result: { rows: 0, seen: 0, unhinted: 0, deleted: 0 }, ...catchUp };
  await readCatchUps({ ...deps(), modules: [leads], catchUps: { open: async () => [wantedNow], read: async () => undefined, tooLarge: async () => undefined, scanned: async () => undefined, failed: async (_, failure) => Promise.reject(new Error(failure)) } });
}

describe('Modified_Time in the future (import), then an ordinary edit', () => {
  const modifiedMs = Date.UTC(2030, 0, 1);
  let id: string;

  /** At 10:05 an import sets the time to 2030; a salesperson edits the lead at 10:06. */
  beforeEach(async () => {
    id = simulator.firstIds('Leads', 1)[0] as string;
    await readAll(leads);
    await clock.advance(5 * MINUTE);
    simulator.massEdit('Leads', [id], { City: 'Imported' }, { isSilent: true, modifiedMs });
    await catchUp(leads, 5);
    await clock.advance(MINUTE);
    simulator.editRecord('Leads', id, { City: 'Edited' });
    await lookAt(leads, id);
  });

  test('is repaired by the refresh; the row shows the time that the CRM has', async () => {
    expect(row(leads, id, 'City')).toEqual({ modified: '2030-01-01T00:00:00.000Z', City: 'Imported' });
    await clock.advance(12 * MINUTE);
    await readAll(leads);
    expect(types(leads, id).at(-1)).toBe('RecordRepaired');
    expect(row(leads, id, 'City')).toEqual({ modified: '2026-01-01T10:06:00.000Z', City: 'Edited' });
    expect(row(leads, id, 'City')).toEqual(inCrm(leads, id, 'City'));
  });

  test('is repaired by the hourly second pass as well, and by any look that comes late enough', async () => {
    await clock.advance(12 * MINUTE);
    await catchUp(leads, 90);
    expect(row(leads, id, 'City')).toEqual(inCrm(leads, id, 'City'));
  });

  test('every further edit arrives at once, a stale read changes nothing, and what is known is confirmed', async () => {
    await clock.advance(12 * MINUTE);
    await readAll(leads);
    await clock.advance(MINUTE);
    simulator.setFaults({ staleMs: 5_000 });
    simulator.editRecord('Leads', id, { City: 'Edited again' });
    await lookAt(leads, id);
    expect(row(leads, id, 'City')).toMatchObject({ City: 'Edited' });
    await clock.advance(MINUTE);
    await lookAt(leads, id);
    expect(row(leads, id, 'City')).toEqual(inCrm(leads, id, 'City'));
    await lookAt(leads, id);
    expect(types(leads, id).slice(-2)).toEqual(['RecordRepaired', 'RecordConfirmed']);
    await clock.advance(MINUTE);
    await readAll(leads);
    expect(types(leads, id).at(-1)).toBe('RecordConfirmed');
    expect(fold(observations(leads, id)).live?.observedMs).toBeGreaterThanOrEqual(clock.nowMs() - 1_000);
  });
});

test('a modified time that an import set back is repaired by the refresh, though no window of changes has it', async () => {
  const id = simulator.firstIds('Leads', 1)[0] as string;
  simulator.editRecord('Leads', id, { City: 'Edited' });
  await readAll(leads);
  await clock.advance(20 * MINUTE);
  simulator.massEdit('Leads', [id], { City: 'From the backup' }, { isSilent: true, modifiedMs: Date.UTC(2025, 5, 1) });
  await catchUp(leads, 90);
  expect(row(leads, id, 'City')).toMatchObject({ City: 'Edited' });
  await readAll(leads);
  expect(row(leads, id, 'City')).toEqual({ modified: '2025-06-01T00:00:00.000Z', City: 'From the backup' });
});

describe('Lead converted', () => {
  test.each(['look', 'catch-up'] as const)('is seen by a %s, though lists of records show it no more, and its row says so', async (by) => {
    const id = simulator.firstIds('Leads', 1)[0] as string;
    await readAll(leads);
    await clock.advance(MINUTE);
    simulator.convertLead(id);
    await (by === 'look' ? lookAt(leads, id) : catchUp(leads, 5));
    expect(leads.onConvert).toBe('mark');
    expect(row(leads, id, 'Converted__s')).toEqual({ modified: '2026-01-01T10:01:00.000Z', Converted__s: true });
  });
});

describe('a record merged away', () => {
  test('is deleted, and its referrers are looked at, though their modified time did not move', async () => {
    const [loser = '', master = ''] = simulator.firstIds('Products', 2);
    const [deal = ''] = simulator.firstIds('Deals', 1);
    simulator.editRecord('Deals', deal, { Main_Product: loser });
    await Promise.all([readAll(products), readAll(deals)]);
    await clock.advance(5 * MINUTE);
    simulator.mergeRecord('Products', loser, master);
    await readDeletedList(deps(), products, new Date(clock.nowMs() - MINUTE), { name: 'catch-up 1', purpose: 'catch-up' });
    expect(isAlive(fold(observations(products, loser)))).toBe(false);
    expect(wanted).toEqual([['Deals', deal, 'referrer']]);
    await lookAt(deals, deal);
    expect(row(deals, deal, 'Main_Product')).toEqual(inCrm(deals, deal, 'Main_Product'));
    expect(row(deals, deal, 'Main_Product')).toEqual({ modified: '2026-01-01T10:00:00.000Z', Main_Product: master });
  });
});

describe('a permanent deletion', () => {
  test('is one like any other, and the restore of another record does not bring it back', async () => {
    const [gone = '', restored = ''] = simulator.firstIds('Leads', 2);
    await readAll(leads);
    await clock.advance(5 * MINUTE);
    simulator.deleteRecord('Leads', gone, 'permanent');
    simulator.deleteRecord('Leads', restored);
    await readDeletedList(deps(), leads, new Date(clock.nowMs() - MINUTE), { name: 'catch-up 1', purpose: 'catch-up' });
    expect([gone, restored].map((id) => isAlive(fold(observations(leads, id))))).toEqual([false, false]);
    await clock.advance(5 * MINUTE);
    simulator.restoreRecord('Leads', restored, true);
    await readOne({ scanFrom: new Date(clock.nowMs() - 60 * 24 * 60 * MINUTE), isRestoreScan: true });
    expect(wanted).toEqual([['Leads', restored, 'unlisted']]);
    await lookAt(leads, restored);
    expect([gone, restored].map((id) => isAlive(fold(observations(leads, id))))).toEqual([false, true]);
  });
});

describe('a record deleted within ε after its last look', () => {
  let id: string;

  beforeEach(async () => {
    id = simulator.firstIds('Leads', 1)[0] as string;
    await readAll(leads);
    await clock.advance(20_000);
    simulator.deleteRecord('Leads', id);
    await readDeletedList(deps(), leads, new Date(clock.nowMs() - MINUTE), { name: 'catch-up 1', purpose: 'catch-up' });
  });
  const settled = (): boolean => isSettled(fold(observations(leads, id)));

  test('is settled by the next catch-up that begins later than ε after, though that would not have read so far back', async () => {
    expect([types(leads, id), settled()]).toEqual([['RecordSeen', 'RecordDeleted'], false]);
    await clock.advance(30_000);
    await readOne({});
    expect([types(leads, id), settled()]).toEqual([['RecordSeen', 'RecordDeleted'], false]);
    await clock.advance(60 * MINUTE);
    await readOne({});
    expect([types(leads, id), settled()]).toEqual([['RecordSeen', 'RecordDeleted', 'RecordDeleted'], true]);
    await clock.advance(2 * MINUTE);
    await readOne({ deletedFrom: new Date(clock.nowMs() - 24 * 60 * MINUTE) });
    expect(types(leads, id)).toHaveLength(3);
  });

  test('is settled by the hourly second pass where the doubt is older, so that one which the list cannot end costs no long reading each time', async () => {
    await clock.advance(5 * 60 * MINUTE);
    await readOne({});
    expect(settled()).toBe(false);
    await readOne({ isSecondPass: true });
    expect(settled()).toBe(true);
  });

  test('and restored since is not settled by the list, which names it no more: a look is wanted', async () => {
    simulator.restoreRecord('Leads', id, true);
    await clock.advance(10 * MINUTE);
    await readOne({});
    expect([settled(), wanted]).toEqual([false, [['Leads', id, 'unlisted']]]);
    await lookAt(leads, id);
    expect([isAlive(fold(observations(leads, id))), settled()]).toEqual([true, true]);
  });
});
