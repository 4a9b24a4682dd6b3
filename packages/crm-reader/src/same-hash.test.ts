import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { createCrmClient, createTokenSource, type CrmClient, loadCrmConfig, memoryTokenStore } from '@lockstep/crm-client';
import { type Simulator, startSimulator } from '@lockstep/crm-simulator';
import type { ProducedMessage } from '@lockstep/kafka';
import { type ModuleDefinition, modules } from '@lockstep/modules';
import { decodeEvent, type RecordSeen } from '@lockstep/record-log';
import { createLogger, createMetrics } from '@lockstep/telemetry';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { rowsOf } from './bulk/bulk-results.ts';
import { publishRows } from './bulk/publish-rows.ts';
import { Looker } from './looks/looker.ts';
import { createReaderMetrics } from './metrics.ts';

let simulator: Simulator;
let crm: CrmClient;
let folder: string;
const RECORDS = 100;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lockstep-hash-'));
  simulator = await startSimulator({ records: { Leads: RECORDS, Deals: RECORDS, Products: RECORDS }, jobDelayMs: 0 });
  const config = loadCrmConfig({ CRM_API_URL: simulator.url, CRM_ACCOUNTS_URL: simulator.url, CRM_CLIENT_ID: 'simulator', CRM_CLIENT_SECRET: 'simulator', CRM_REFRESH_TOKEN: 'simulator' });
  crm = createCrmClient({ config, tokens: createTokenSource({ config, store: memoryTokenStore() }) });
});
afterAll(async () => {
  await crm.close();
  await simulator.close();
  await rm(folder, { recursive: true, force: true });
});

type Contents = Map<string, { hash: string; fields: readonly unknown[] }>;
const contentsOf = (messages: readonly ProducedMessage[]): Contents =>
  new Map(messages.map(({ value }) => decodeEvent(String(value)) as RecordSeen).map(({ id, hash, fields }) => [id, { hash, fields }]));
const deadLetters = {
  put: async (letters: readonly unknown[]) => {
    if (letters.length > 0) throw new Error('nothing may be unreadable here');
  },
};

async function byBulk(module: ModuleDefinition): Promise<Contents> {
  const { jobId, createdTime } = await crm.createBulkRead({ module: module.apiName, fields: [...module.fields.map(({ field }) => field), 'Modified_Time'], page: 1, pageToken: null, callbackUrl: null });
  let status = await crm.bulkReadStatus(jobId);
  while (status.state === 'running') status = await crm.bulkReadStatus(jobId);
  const file = join(folder, `${jobId}.zip`);
  const { upperMs } = await crm.downloadBulkRead({ jobId, file });
  const sent: ProducedMessage[] = [];
  await publishRows({ rows: await rowsOf(file), jobId, module, span: { lowerMs: createdTime.getTime(), upperMs }, producer: { send: async (_, messages) => void sent.push(...messages) }, deadLetters, epsilonMs: 60_000, signal: new AbortController().signal });
  return contentsOf(sent);
}

async function byLook(module: ModuleDefinition, ids: Iterable<string>): Promise<Contents> {
  const sent: ProducedMessage[] = [];
  const stopping = new AbortController();
  const register = { known: async () => new Map(), hidden: async () => undefined };
  const looker = new Looker({ module, crm, register, producer: { send: async (_, messages) => void sent.push(...messages) }, deadLetters, metrics: createReaderMetrics(createMetrics({ app: 'test' })), log: createLogger({ app: 'test', level: 'silent', isPretty: false }), signal: stopping.signal, epsilonMs: 60_000, intervalMs: 0 });
  await Promise.all(
    [...ids].map((id) => {
      const answered = Promise.withResolvers<void>();
      looker.add({ hint: { module: module.apiName, id, operation: 'update', channelId: '1', serverTimeMs: null, receivedMs: 0 }, answered: answered.resolve });
      return answered.promise;
    }),
  );
  stopping.abort();
  return contentsOf(sent);
}

test.each(modules.map((module) => [module.apiName, module] as const))('the same record has the same content hash, from a bulk CSV and from a look: %s', async (_, module) => {
  const bulk = await byBulk(module);
  const looks = await byLook(module, bulk.keys());
  expect(bulk.size).toBe(RECORDS);
  expect(looks).toEqual(bulk);
});
