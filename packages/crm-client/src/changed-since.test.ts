import { type Simulator, startSimulator } from '@lockstep/crm-simulator';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { createCrmClient, type CrmClient } from './client.ts';
import { loadCrmConfig } from './config.ts';
import { createTokenSource, memoryTokenStore } from './tokens.ts';

let simulator: Simulator;
let crm: CrmClient;

beforeAll(async () => {
  simulator = await startSimulator({ records: { Leads: 10, Deals: 0, Products: 0 } });
  const config = loadCrmConfig({ CRM_API_URL: simulator.url, CRM_ACCOUNTS_URL: simulator.url, CRM_CLIENT_ID: 'simulator', CRM_CLIENT_SECRET: 'simulator', CRM_REFRESH_TOKEN: 'simulator' });
  crm = createCrmClient({ config, tokens: createTokenSource({ config, store: memoryTokenStore() }), retries: 0 });
});
afterAll(async () => {
  await crm.close();
  await simulator.close();
});

describe('what changed since a time', () => {
  const since = async (at: Date): Promise<string[]> => (await crm.changedSince({ module: 'Leads', fields: ['Company'], since: at, after: null })).records.map(({ id }) => id);

  test('begins with that very second, and a second later no more', async () => {
    const [id = ''] = simulator.firstIds('Leads', 1);
    const modified = new Date(simulator.editRecord('Leads', id, { Company: 'At the edge' }).Modified_Time);
    expect(await since(modified)).toEqual([id]);
    expect(await since(new Date(modified.getTime() + 1_000))).toEqual([]);
  });

  test('goes on within a second that a page was cut in, by id', async () => {
    const ids = simulator.firstIds('Leads', 6);
    const [{ Modified_Time: modifiedTime } = { Modified_Time: '' }] = simulator.massEdit('Leads', ids, { Company: 'All in one second' });
    const [, second = '', ...rest] = ids;
    const page = await crm.changedSince({ module: 'Leads', fields: ['Company'], since: new Date(modifiedTime), after: { modifiedTime: `${modifiedTime.slice(0, 19)}+00:00`, id: second } });
    expect(page.records.map(({ id }) => id)).toEqual(rest);
  });
});
