import { compareAll, peakRssMb, waitUntilLoaded, waitUntilQuiet } from '@lockstep/harness';

import { leadsOnly, withLockstep } from './with-lockstep.ts';

/** Peak resident set of each app over a first load, megabytes. */
export type MemoryRun = { readonly rows: number; readonly rssMb: Readonly<Record<string, number>>; readonly seconds: number; readonly mismatches: number };

/** A first load of so many Leads in pages of 200,000. */
export async function runMemory(folder: string, rows: number): Promise<MemoryRun> {
  const started = performance.now();
  return await withLockstep(folder, { modules: ['Leads'], simulator: leadsOnly(rows) }, async (lockstep) => {
    await waitUntilLoaded(lockstep, { timeoutMs: 1_800_000 });
    await waitUntilQuiet(lockstep, { timeoutMs: 600_000 });
    const seconds = Math.round((performance.now() - started) / 1000);
    const rssMb = Object.fromEntries(Object.entries(lockstep.apps).map(([name, app]) => [name, peakRssMb(app.pid)]));
    const { mismatches } = await compareAll(lockstep, ['Leads']);
    return { rows, rssMb, seconds, mismatches };
  });
}
