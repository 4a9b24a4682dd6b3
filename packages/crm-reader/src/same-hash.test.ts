import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { createCrmClient, createTokenSource, type CrmClient, loadCrmConfig, memoryTokenStore } from '@lockstep/crm-client';
import { type Simulator, type SimulatorOptions, startSimulator } from '@lockstep/crm-simulator';
import type { ProducedMessage } from '@lockstep/kafka';
import { coverageOf, deals, type ModuleDefinition, modules } from '@lockstep/modules';
import type { RegisterEntry, TextCut } from '@lockstep/postgres';
import { decodeEvent, type RecordEvent } from '@lockstep/record-log';
import { createLogger, createMetrics } from '@lockstep/telemetry';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { rowsOf } from './bulk/bulk-results.ts';
import { publishRows } from './bulk/publish-rows.ts';
import { readWindow } from './catch-up/read-window.ts';
import { FieldFacts } from './field-facts.ts';
import { Looker } from './looks/looker.ts';
import { createReaderMetrics } from './metrics.ts';
import { WholeTexts } from './whole-texts.ts';
import { asideInMemory } from './testing.ts';

const RECORDS = 100;
const metrics = createReaderMetrics(createMetrics({ app: 'test' }));
const log = createLogger({ app: 'test', level: 'silent', isPretty: false });
const deadLetters = {
  put: async (letters: readonly unknown[]) => {
    if (letters.length > 0) throw new Error('nothing may be unreadable here');
  },
};

/** A simulated CRM and a reader of it. */
async function reader(options: Partial<SimulatorOptions> = {}, apiVersion = 'v8') {
  const folder = await mkdtemp(join(tmpdir(), 'lockstep-hash-'));
  const simulator: Simulator = await startSimulator({ records: { Leads: RECORDS, Deals: RECORDS, Products: RECORDS }, jobDelayMs: 0, ...options });
  const config = loadCrmConfig({ CRM_API_VERSION: apiVersion, CRM_API_URL: simulator.url, CRM_ACCOUNTS_URL: simulator.url, CRM_CLIENT_ID: 'simulator', CRM_CLIENT_SECRET: 'simulator', CRM_REFRESH_TOKEN: 'simulator' });
  const crm: CrmClient = createCrmClient({ config, tokens: createTokenSource({ config, store: memoryTokenStore() }) });
  const facts = new FieldFacts({ crm, modules, metrics, log });
  await facts.readDue();
  const noted: TextCut[] = [];
  const texts = new WholeTexts({ crm, facts, metrics, log, cuts: { all: async () => noted, note: async (cut) => void noted.push(cut) } });
  const register = new Map<string, RegisterEntry>();
  const reads = { known: async () => register, hidden: async () => undefined };

  return {
    simulator,
    register,
    noted,
    async byBulk(module: ModuleDefinition): Promise<RecordEvent[]> {
      const { jobId, createdTime } = await crm.createBulkRead({ module: module.apiName, fields: [...coverageOf(module).fields, 'Modified_Time'], page: 1, pageToken: null, callbackUrl: null });
      let status = await crm.bulkReadStatus(jobId);
      while (status.state === 'running') status = await crm.bulkReadStatus(jobId);
      const file = join(folder, `${jobId}.zip`);
      const { upperMs } = await crm.downloadBulkRead({ jobId, file });
      const sent: ProducedMessage[] = [];
      const { rows, rowCount } = await rowsOf(file);
      const { bad, longTexts } = await publishRows({ rows, promised: rowCount, textareas: new Set(coverageOf(module).fields), multiSelects: facts.of(module.apiName).multiSelects, jobId, reading: 'run 1, page 1', module, span: { lowerMs: createdTime.getTime(), upperMs }, producer: { send: async (_, messages) => void sent.push(...messages) }, epsilonMs: 60_000, signal: new AbortController().signal });
      expect(bad).toEqual([]);
      await texts.compare(module, longTexts);
      return eventsOf(sent);
    },
    async byLook(module: ModuleDefinition, ids: Iterable<string>): Promise<RecordEvent[]> {
      const sent: ProducedMessage[] = [];
      const stopping = new AbortController();
      const looker = new Looker({ module, crm, texts, register: reads, producer: { send: async (_, messages) => void sent.push(...messages) }, deadLetters, aside: asideInMemory(), metrics, log, signal: stopping.signal, epsilonMs: 60_000, intervalMs: 0 });
      await Promise.all(
        [...ids].map((id) => {
          const answered = Promise.withResolvers<void>();
          looker.add({ hint: { module: module.apiName, id, operation: 'update', channelId: '1', serverTimeMs: null, receivedMs: 0 }, name: 'hint 0/0', answered: answered.resolve });
          return answered.promise;
        }),
      );
      stopping.abort();
      return eventsOf(sent);
    },
    async byWindow(module: ModuleDefinition): Promise<RecordEvent[]> {
      const sent: ProducedMessage[] = [];
      await readWindow({ crm, texts, register: reads, producer: { send: async (_, messages) => void sent.push(...messages) }, deadLetters, aside: asideInMemory(), epsilonMs: 60_000, signal: new AbortController().signal }, module, new Date(0), 'catch-up 1');
      return eventsOf(sent);
    },
    async close(): Promise<void> {
      await crm.close();
      await simulator.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

const eventsOf = (messages: readonly ProducedMessage[]): RecordEvent[] => messages.map(({ value }) => decodeEvent(String(value)));
type Contents = Map<string, { hash: string; fields: readonly unknown[] }>;
const contentsOf = (events: readonly RecordEvent[]): Contents => new Map(events.flatMap((event) => (event.type === 'RecordSeen' ? [[event.id, { hash: event.hash, fields: event.fields }] as const] : [])));
const valueOf = (events: readonly RecordEvent[], id: string, field: string): unknown => contentsOf(events).get(id)?.fields[coverageOf(deals).fields.indexOf(field)];

describe.each([';', ','] as const)('the same record has the same content hash, from a bulk CSV that joins values with "%s", from a look and from a window', (csvMultiSelectSeparator) => {
  let crm: Awaited<ReturnType<typeof reader>>;
  beforeAll(async () => {
    crm = await reader({ csvMultiSelectSeparator });
    const [first = '', second = '', third = ''] = crm.simulator.firstIds('Deals', 3);
    crm.simulator.editRecord('Deals', first, { Competitors: ['Agriculture, Food, and Natural Resources'] });
    crm.simulator.editRecord('Deals', second, { Competitors: ['Globex, Europe', 'Globex', 'Smith, Jones; Sons'], Description: `<p>${'x'.repeat(3_000)}</p>` });
    crm.simulator.editRecord('Deals', third, { Competitors: ['Globex', 'Agriculture, Food, and Natural Resources', 'Soylent'] });
  });
  afterAll(() => crm.close());

  test.each(modules.map((module) => [module.apiName, module] as const))('%s', async (_, module) => {
    const bulk = contentsOf(await crm.byBulk(module));
    expect(bulk.size).toBe(RECORDS);
    expect(contentsOf(await crm.byLook(module, bulk.keys()))).toEqual(bulk);
    expect(contentsOf(await crm.byWindow(module))).toEqual(bulk);
  });

  test('and a single value with commas is one value', async () => {
    const [first = ''] = crm.simulator.firstIds('Deals', 1);
    expect(valueOf(await crm.byBulk(deals), first, 'Competitors')).toBe('Agriculture, Food, and Natural Resources');
  });
});

describe('a rich text of 3,000 characters', () => {
  const text = `<p>${'é😀x '.repeat(750)}</p>`;

  test.each(['v6', 'v8'])('is whole in a look and in a window after an edit of another field, in API %s', async (version) => {
    const crm = await reader({}, version);
    try {
      const [id = ''] = crm.simulator.firstIds('Deals', 1);
      crm.simulator.editRecord('Deals', id, { Description: text });
      crm.simulator.editRecord('Deals', id, { Next_Step: 'Call' });
      const [bulk, look, window] = [await crm.byBulk(deals), await crm.byLook(deals, [id]), await crm.byWindow(deals)];
      for (const events of [bulk, look, window]) expect(valueOf(events, id, 'Description')).toBe(text);
      expect(new Set([bulk, look, window].map((events) => contentsOf(events).get(id)?.hash)).size).toBe(1);
    } finally {
      await crm.close();
    }
  });

  test.each<[string, Partial<SimulatorOptions>]>([
    ['the call that reads it in full is refused', { uncovered: ['/actions/fetch_full_data'] }],
    ['that call cuts it as well', { fullTextCut: 500 }],
    ['its kind is not known, for metadata cannot be read', { uncovered: ['/settings/fields'] }],
  ])('is outside of what a look speaks about where %s', async (_, options) => {
    const crm = await reader(options);
    try {
      const [id = ''] = crm.simulator.firstIds('Deals', 1);
      crm.simulator.editRecord('Deals', id, { Description: text });
      const covered = coverageOf(deals).fields.filter((field) => field !== 'Description');
      const [declared, seen] = await crm.byLook(deals, [id]);
      expect(declared).toMatchObject({ type: 'CoverageDeclared', fields: covered });
      expect(seen).toMatchObject({ type: 'RecordSeen', id, coverage: declared?.type === 'CoverageDeclared' ? declared.coverage : '' });
      expect(seen?.type === 'RecordSeen' && seen.fields.length).toBe(covered.length);
      // The register holds just that: the next look is 60 bytes again.
      if (seen?.type === 'RecordSeen') crm.register.set(id, { modifiedMs: seen.modifiedMs, observedMs: seen.observedMs, hash: seen.hash, deletedMs: null, listedMs: null });
      expect((await crm.byLook(deals, [id])).map(({ type }) => type)).toEqual(['RecordConfirmed']);
    } finally {
      await crm.close();
    }
  });

  test('that a query was seen to cut at another length is no longer believed at that length, in whatever kind of field', async () => {
    const crm = await reader({ richTextCut: 300, uncovered: ['/settings/fields'] });
    try {
      const [id = '', other = ''] = crm.simulator.firstIds('Deals', 2);
      crm.simulator.massEdit('Deals', [id, other], { Description: text });
      expect(valueOf(await crm.byLook(deals, [id]), id, 'Description')).toBe(text.slice(0, 300));
      expect(valueOf(await crm.byBulk(deals), id, 'Description')).toBe(text);
      expect(crm.noted).toEqual([{ module: 'Deals', field: 'Description', characters: 300 }]);
      const [declared] = await crm.byLook(deals, [other]);
      expect(declared).toMatchObject({ type: 'CoverageDeclared', fields: coverageOf(deals).fields.filter((field) => field !== 'Description') });
    } finally {
      await crm.close();
    }
  });

  test('of a length that no cut has is believed', async () => {
    const crm = await reader({ uncovered: ['/settings/fields'] });
    try {
      const [id = ''] = crm.simulator.firstIds('Leads', 1);
      crm.simulator.editRecord('Leads', id, { Description: 'y'.repeat(1_000) });
      const [seen] = await crm.byLook(modules[0] as ModuleDefinition, [id]);
      expect(seen).toMatchObject({ type: 'RecordSeen', coverage: coverageOf(modules[0] as ModuleDefinition).id });
    } finally {
      await crm.close();
    }
  });
});
