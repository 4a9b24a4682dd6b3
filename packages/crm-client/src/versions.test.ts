import { type Simulator, startSimulator } from '@lockstep/crm-simulator';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { createCrmClient, type CrmClient } from './client.ts';
import { loadCrmConfig } from './config.ts';
import { createTokenSource, memoryTokenStore } from './tokens.ts';
import { type ApiVersion, apiVersions, checkReadable } from './versions.ts';

let simulator: Simulator;
beforeAll(async () => {
  simulator = await startSimulator({ records: { Leads: 110, Deals: 0, Products: 0 }, tokensPerTenMinutes: 0 });
});
afterAll(() => simulator.close());

async function withClient<T>(version: ApiVersion, work: (crm: CrmClient) => Promise<T>): Promise<T> {
  const config = loadCrmConfig({ CRM_API_URL: simulator.url, CRM_ACCOUNTS_URL: simulator.url, CRM_CLIENT_ID: 'simulator', CRM_CLIENT_SECRET: 'simulator', CRM_REFRESH_TOKEN: 'simulator', CRM_API_VERSION: version });
  const crm = createCrmClient({ config, tokens: createTokenSource({ config, store: memoryTokenStore() }), retries: 0 });
  try {
    return await work(crm);
  } finally {
    await crm.close();
  }
}
const names = (count: number): string[] => Array.from({ length: count }, (_, at) => `Field_${at}`);

describe.each(apiVersions)('what the rules of %s ask for, the CRM grants', (version) => {
  test('records of one look', async () => {
    await withClient(version, async (crm) => {
      const ids = simulator.firstIds('Leads', 110);
      expect((await crm.lookAt({ module: 'Leads', fields: ['Company'], ids: ids.slice(0, crm.rules.idsPerLook) })).records).toHaveLength(crm.rules.idsPerLook);
      await expect(crm.lookAt({ module: 'Leads', fields: ['Company'], ids: ids.slice(0, crm.rules.idsPerLook + 1) })).rejects.toMatchObject({ crmCode: 'LIMIT_EXCEEDED' });
    });
  });

  test('columns of one query', async () => {
    await withClient(version, async (crm) => {
      const columns = (count: number) => crm.lookAt({ module: 'Leads', fields: names(count - 2), ids: ['1'] });
      // As many as there may be are taken for what they are: unknown ones.
      await expect(columns(crm.rules.coqlColumns)).rejects.toMatchObject({ crmCode: 'INVALID_QUERY' });
      await expect(columns(crm.rules.coqlColumns + 1)).rejects.toMatchObject({ crmCode: 'LIMIT_EXCEEDED' });
    });
  });

  test('the life of a channel', async () => {
    await withClient(version, async (crm) => {
      const expiresAt = new Date(Date.now() + crm.rules.channelLifeMs);
      const granted = await crm.enableNotifications({ channelId: version.slice(1), module: 'Leads', notifyUrl: 'http://127.0.0.1:9/n', token: 't', expiresAt });
      expect(Math.abs(granted.expiresAt.getTime() - expiresAt.getTime())).toBeLessThan(2_000);
    });
  });
});

test('a module of more fields than one query reads is refused at start, with what to do', () => {
  expect(() => checkReadable('v6', { apiName: 'Leads', fields: names(48) })).not.toThrow();
  expect(() => checkReadable('v6', { apiName: 'Leads', fields: names(49) })).toThrow(/49 fields of Leads[^]*API v6 reads 48[^]*CRM_API_VERSION/);
  expect(() => checkReadable('v7', { apiName: 'Leads', fields: names(198) })).not.toThrow();
});
