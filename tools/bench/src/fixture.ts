import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';

import { createCrmClient, createTokenSource, loadCrmConfig, memoryTokenStore } from '@lockstep/crm-client';
import { checkoutDir, type SimulatorProcess } from '@lockstep/harness';
import { coverageOf, leads } from '@lockstep/modules';

/** A page of Leads as the CRM exports it: the ZIP on disk, and when its job was created. */
export type Page = { readonly file: string; readonly createdMs: number; readonly rows: number };

/** A folder of the checkout that goes when the work is done. */
export async function withFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(checkoutDir, '.lockstep-bench-'));
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Has the simulator export a page, and downloads it. */
export async function exportPage(simulator: Pick<SimulatorProcess, 'url'>, folder: string): Promise<Page> {
  const config = loadCrmConfig({ CRM_API_URL: simulator.url, CRM_ACCOUNTS_URL: simulator.url, CRM_CLIENT_ID: 'simulator', CRM_CLIENT_SECRET: 'simulator', CRM_REFRESH_TOKEN: 'simulator' });
  const crm = createCrmClient({ config, tokens: createTokenSource({ config, store: memoryTokenStore() }) });
  try {
    const fields = [...coverageOf(leads).fields, 'Modified_Time'];
    const { jobId, createdTime } = await crm.createBulkRead({ module: 'Leads', fields, page: 1, pageToken: null, callbackUrl: null });
    let status = await crm.bulkReadStatus(jobId);
    while (status.state === 'running') {
      await new Promise((resolve) => {
        setTimeout(resolve, 200);
      });
      status = await crm.bulkReadStatus(jobId);
    }
    if (status.state === 'failed') throw new Error(`the simulator made no page: ${status.failure}`);
    const file = join(folder, 'page.zip');
    await crm.downloadBulkRead({ jobId, file });
    return { file, createdMs: createdTime.getTime(), rows: status.count };
  } finally {
    await crm.close();
  }
}
