import { compareAll, metricSum, peakRssMb } from '@lockstep/harness';

import { exportPage } from './fixture.ts';
import { inChild } from './in-child.ts';
import { Positions } from './positions.ts';
import { leadsOnly, withLockstep } from './with-lockstep.ts';

const PARTITIONS = 4;

/** One run of a page through everything, and its floor on the same stack right after. */
export type PageRun = {
  /** From the ZIP on disk to the last committed row. */
  readonly seconds: number;
  /** What the reader took to get it there. */
  readonly downloadSeconds: number;
  readonly floorSeconds: number;
  readonly stages: Readonly<Record<string, number>>;
  readonly mismatches: number;
  readonly rssMb: Readonly<Record<string, number>>;
};

/**
 * From "the result is ready" in the job table to the last committed row, less what the reader says its download took; then,
 * on the same Postgres and from the same file, the floor; and the stages of the reading alone. Every value is compared with
 * the CRM afterwards.
 */
export const runPage = (folder: string, rows: number): Promise<PageRun> =>
  withLockstep(folder, { modules: ['Leads'], simulator: leadsOnly(rows) }, async (lockstep) => {
    const positions = await Positions.open(lockstep.databaseUrl);
    const readyMs = await untilReady(positions);
    // Each partition's first message declares the coverage.
    const doneMs = await positions.reached('crm.records.leads', rows + PARTITIONS);
    await positions.close();
    const downloadSeconds = await metricSum(`${lockstep.urls.ingress}/metrics`, 'lockstep_ingress_crm_call_seconds_sum', '/result"');
    const { mismatches } = await compareAll(lockstep, ['Leads']);
    const rssMb = Object.fromEntries(Object.entries(lockstep.apps).map(([name, app]) => [name, peakRssMb(app.pid)]));
    for (const app of Object.values(lockstep.apps)) await app.stop();
    const page = await exportPage(lockstep.simulator ?? { url: '' }, folder);
    const floor = await inChild<{ seconds: number }>('./floor.child.ts', [page.file, lockstep.databaseUrl]);
    const stages = await inChild<Record<string, number>>('./stages.child.ts', [page.file, String(page.createdMs)]);
    return { seconds: (doneMs - readyMs) / 1000 - downloadSeconds, downloadSeconds, floorSeconds: floor.seconds, stages, mismatches, rssMb };
  });

/** When the page became ready, by the clock of the machine; the moment is kept although the row moves on. */
async function untilReady(positions: Positions): Promise<number> {
  for (;;) {
    const [page] = await positions.query<{ state: string }>('select state from lockstep.bulk_page limit 1');
    if (page?.state === 'ready') return Date.now();
    if (page?.state === 'published') throw new Error('the page was gone before it was seen');
    await new Promise((resolve) => {
      setTimeout(resolve, 5);
    });
  }
}
