import { createCrmClient, createTokenSource, type CrmClient, CrmError, loadCrmConfig, memoryTokenStore } from '@lockstep/crm-client';
import { type DrivenClock, drivenClock, type Simulator, startSimulator } from '@lockstep/crm-simulator';
import type { ProducedMessage } from '@lockstep/kafka';
import { coverageOf, leads, topicOf } from '@lockstep/modules';
import type { BulkRunRow, FieldMissing } from '@lockstep/postgres';
import { decodeEvent, fold, type Observation, rowOf } from '@lockstep/record-log';
import { createLogger, createMetrics } from '@lockstep/telemetry';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { readWindow } from './catch-up/read-window.ts';
import { createReaderMetrics } from './metrics.ts';
import { MissingFields } from './missing-fields.ts';
import { asideInMemory } from './testing.ts';

const MINUTE = 60_000;
const log = createLogger({ app: 'test', level: 'silent', isPretty: false });
const metrics = createReaderMetrics(createMetrics({ app: 'test' }));
const { fields } = coverageOf(leads);

let clock: DrivenClock;
let simulator: Simulator;
let client: CrmClient;
/** Fields that the CRM does not have at present, and whether its refusal names them. */
let removed: Set<string>;
let isNamed: boolean;
let calls: number;
let stored: FieldMissing[];
let wanted: Date[];
let isCatchUpUnderWay: boolean;
let runs: Pick<BulkRunRow, 'id' | 'module' | 'kind' | 'state' | 'firstJobCreatedAt' | 'expectedRows'>[];
let elapsedMs: number;

beforeEach(async () => {
  clock = drivenClock(Date.UTC(2026, 0, 1, 10));
  simulator = await startSimulator({ clock, records: { Leads: 20, Deals: 0, Products: 0 }, tokensPerTenMinutes: 0 });
  const config = loadCrmConfig({ CRM_API_URL: simulator.url, CRM_ACCOUNTS_URL: simulator.url, CRM_CLIENT_ID: 'simulator', CRM_CLIENT_SECRET: 'simulator', CRM_REFRESH_TOKEN: 'simulator' });
  client = createCrmClient({ config, tokens: createTokenSource({ config, store: memoryTokenStore() }), retries: 0 });
  [removed, isNamed, calls, stored, wanted, isCatchUpUnderWay, runs, elapsedMs] = [new Set(), true, 0, [], [], false, [], 0];
});
afterEach(async () => {
  await client.close();
  await simulator.close();
});

/** The client of a CRM that lacks the removed fields: such a query is sent with a name that the simulator does not know. */
async function refusing<T>({ fields: asked }: { readonly fields: readonly string[] }, call: () => Promise<T>): Promise<T> {
  calls += 1;
  const gone = asked.find((field) => removed.has(field));
  if (gone === undefined) return await call();
  throw new CrmError('column given seems to be invalid', 'CRM_REFUSED', { crmCode: 'INVALID_QUERY', ...(isNamed ? { details: { column_name: gone, clause: 'select' } } : {}) });
}

const start = async (): Promise<MissingFields> => {
  const missing = new MissingFields({
    crm: {
      time: () => client.time(),
      lookAt: (options) => refusing(options, () => client.lookAt(options)),
      changedSince: (options) => refusing(options, () => client.changedSince(options)),
      recordsBetween: (options) => refusing(options, () => client.recordsBetween(options)),
    },
    store: {
      all: async () => stored,
      note: async (one) => void (stored = [...stored.filter(({ field }) => field !== one.field), { ...one, isBack: false }]),
      back: async (_, field) => void (stored = stored.map((one) => (one.field === field ? { ...one, isBack: true } : one))),
      done: async (_, field) => void (stored = stored.filter((one) => one.field !== field)),
    },
    catchUps: { want: async (_, { from }) => !isCatchUpUnderWay && (wanted.push(from), true) },
    runs: {
      all: async () => runs as BulkRunRow[],
      start: async (module, kind, { expectedRows = null } = {}) => {
        if (runs.some(({ state }) => state === 'running')) return null;
        runs.push({ id: runs.length + 1, module, kind, state: 'running', firstJobCreatedAt: null, expectedRows });
        return runs.at(-1) as BulkRunRow;
      },
    },
    metrics,
    log,
    time: { now: () => clock.nowMs(), elapsed: () => elapsedMs, after: () => () => undefined, jitter: () => 0, sleep: async () => undefined },
  });
  await missing.recall();
  return missing;
};

const look = async (missing: MissingFields) => {
  const { records } = await missing.readings.lookAt({ module: 'Leads', fields, ids: simulator.firstIds('Leads', 1) });
  return Object.keys(records[0]?.values ?? {});
};

describe('a field that the CRM has no more', () => {
  test('is named by the refusal, left out at once, and not asked for again with each look', async () => {
    removed = new Set(['Company']);
    const missing = await start();
    expect(await look(missing)).toEqual(fields.filter((field) => field !== 'Company'));
    expect([...missing.of('Leads')]).toEqual(['Company']);
    expect(stored).toMatchObject([{ module: 'Leads', field: 'Company', cause: 'column given seems to be invalid' }]);
    await look(missing);
    expect(calls).toBe(3);
  });

  test('is found by halving where no refusal names it, several one after another', async () => {
    [removed, isNamed] = [new Set(['Company', 'City']), false];
    const missing = await start();
    expect(await look(missing)).toEqual(fields.filter((field) => !removed.has(field)));
    expect([...missing.of('Leads')].toSorted()).toEqual(['City', 'Company']);
    expect(calls).toBeLessThan(2 * (3 + Math.ceil(Math.log2(fields.length)) + 1));
  });

  test('is remembered by the next process', async () => {
    removed = new Set(['Company']);
    await look(await start());
    calls = 0;
    await look(await start());
    expect(calls).toBe(1);
  });

  test('is asked about after a minute, two, four, eight, and every quarter of an hour', async () => {
    removed = new Set(['Company']);
    const missing = await start();
    await look(missing);
    calls = 0;
    for (; elapsedMs < 60 * MINUTE; elapsedMs += 10_000) await missing.checkDue();
    expect(calls).toBe(4 + 2);
  });
});

describe('another refusal', () => {
  test.each([
    ['of the scope', new CrmError('no', 'CRM_UNAUTHORIZED', { crmCode: 'OAUTH_SCOPE_MISMATCH' })],
    ['of the whole module', new CrmError('no', 'CRM_REFUSED', { crmCode: 'INVALID_QUERY', details: { module: 'Leads' } })],
  ])('%s blames no field', async (_, error) => {
    const fail = () => Promise.reject(error);
    const missing = new MissingFields({ crm: { time: () => client.time(), lookAt: fail, changedSince: fail, recordsBetween: fail }, store: { all: async () => [], note: async () => Promise.reject(new Error('nothing to note')), back: async () => undefined, done: async () => undefined }, catchUps: { want: async () => true }, runs: { all: async () => [], start: async () => null }, metrics, log });
    await expect(look(missing)).rejects.toBe(error);
  });
});

test('what was changed while a field was missing keeps its column, and is read in full once the field is back', async () => {
  const events: Observation[] = [];
  const producer = { send: async (topic: string, messages: Iterable<ProducedMessage>) => {
    expect(topic).toBe(topicOf(leads));
    for (const { value } of messages) {
      const event = decodeEvent(value);
      if (event.type !== 'CoverageDeclared') events.push(event);
    }
  } };
  const [id = ''] = simulator.firstIds('Leads', 1);
  const register = { known: async () => {
    const { live } = fold(events);
    return new Map(live === null || live === undefined ? [] : [[id, { modifiedMs: live.modifiedMs, observedMs: live.observedMs, hash: live.hash, deletedMs: null } as never]]);
  } };
  const missing = await start();
  const read = () => readWindow({ crm: missing.readings, producer, register, deadLetters: { put: async () => undefined }, aside: asideInMemory(), epsilonMs: MINUTE, signal: new AbortController().signal }, leads, wanted.at(-1) ?? new Date(clock.nowMs()), 'catch-up 1');
  const company = () => {
    const { content } = rowOf(fold(events)) as { content: { fields: readonly unknown[] } };
    return content.fields.length === fields.length ? content.fields[fields.indexOf('Company')] : 'not spoken about';
  };
  simulator.editRecord('Leads', id, { Company: 'Before' });
  await read();
  expect(company()).toBe('Before');
  removed = new Set(['Company']);
  await clock.advance(10 * MINUTE);
  simulator.editRecord('Leads', id, { Company: 'Missed', City: 'Seen' });
  await read();
  expect(company()).toBe('not spoken about');
  removed = new Set();
  await clock.advance(10 * MINUTE);
  isCatchUpUnderWay = true;
  elapsedMs += 2 * MINUTE;
  await missing.checkDue();
  expect([wanted, [...missing.of('Leads')], stored.length]).toEqual([[], [], 1]);
  isCatchUpUnderWay = false;
  await missing.checkDue();
  expect([wanted.length, stored]).toEqual([1, []]);
  await read();
  expect(company()).toBe('Missed');
});

describe('a field that an export had to do without', () => {
  const since = new Date(Date.UTC(2026, 0, 1, 9));
  const left = async (missing: MissingFields): Promise<string[]> => [...(await missing.mayBeAbsent('Leads'))];

  test('is left out of looks as well, may be absent from the file, and is read for the whole module once it is back and that load is complete', async () => {
    removed = new Set(['Company']);
    const missing = await start();
    stored = [{ module: 'Leads', field: 'Company', cause: 'refused by the export', since, isBack: false }];
    runs = [{ id: 1, module: 'Leads', kind: 'initial', state: 'running', firstJobCreatedAt: new Date(since.getTime() + MINUTE), expectedRows: 20 }];
    expect(await left(missing)).toEqual(['Company']);
    await look(missing);
    expect(calls).toBe(1);
    removed = new Set();
    elapsedMs += 2 * MINUTE;
    await missing.checkDue();
    expect([[...missing.of('Leads')], await left(missing), runs.length]).toEqual([[], ['Company'], 1]);
    runs = [{ ...(runs[0] as (typeof runs)[number]), state: 'complete' }];
    await missing.checkDue();
    await missing.checkDue();
    expect([runs.slice(1), await left(missing), wanted]).toEqual([[{ id: 2, module: 'Leads', kind: 'refresh', state: 'running', firstJobCreatedAt: null, expectedRows: 20 }], ['Company'], []]);
    runs = runs.map((run) => ({ ...run, state: 'complete' }));
    await missing.checkDue();
    expect([runs.length, stored, await left(missing), wanted]).toEqual([2, [], [], []]);
  });

  const load = (begun: number, finished: number) => ({ id: 1, module: 'Leads', kind: 'initial', state: 'complete', firstJobCreatedAt: new Date(since.getTime() + begun), finishedAt: new Date(since.getTime() + finished), expectedRows: 20 }) as const;

  test('is read for the whole module as well where the load had begun before, and requested later pages without it', async () => {
    stored = [{ module: 'Leads', field: 'Company', cause: 'refused by the export', since, isBack: true }];
    runs = [load(-10 * MINUTE, 5 * MINUTE)];
    await (await start()).checkDue();
    expect([wanted, runs.slice(1)]).toEqual([[], [expect.objectContaining({ kind: 'refresh', state: 'running' })]]);
  });

  test('needs no more than a catch-up where the load before had it', async () => {
    stored = [{ module: 'Leads', field: 'Company', cause: 'refused by the export', since, isBack: false }];
    runs = [load(-200 * MINUTE, -180 * MINUTE), { ...load(MINUTE, 2 * MINUTE), id: 2, kind: 'refresh' }];
    await (await start()).checkDue();
    expect([wanted, stored, runs.length]).toEqual([[since], [], 2]);
  });
});
