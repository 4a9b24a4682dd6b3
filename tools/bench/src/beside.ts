import { setTimeout as sleep } from 'node:timers/promises';

import { compareAll, fetchJson, type Latencies, LatencyProbe, type Lockstep, waitUntilLoaded, waitUntilQuiet } from '@lockstep/harness';

import { inChild } from './in-child.ts';
import { Positions } from './positions.ts';
import { leadsOnly, withLockstep } from './with-lockstep.ts';

/** Notification → row at the same rate of edits, alone, and beside a reader of the whole log. */
export type BesideRun = { readonly rows: number; readonly written: number; readonly editsPerSecond: number; readonly latencies: Readonly<Record<'alone' | 'verify' | 'rebuild', Latencies>>; readonly mismatches: number };

const EDITS_PER_SECOND = 50;
/** Of a hundred rows, how many are damaged before each rebuild. */
const DAMAGED_OF_100 = 20;

/**
 * Verifies, and damages and rebuilds, one after the other for as long as each is measured, while edits go on.
 * @param seconds of each.
 */
export const runBeside = (folder: string, rows: number, seconds: number): Promise<BesideRun> =>
  withLockstep(folder, { modules: ['Leads'], simulator: leadsOnly(rows) }, async (lockstep) => {
    await waitUntilLoaded(lockstep, { timeoutMs: 1_800_000 });
    await waitUntilQuiet(lockstep, { timeoutMs: 600_000 });
    const positions = await Positions.open(lockstep.databaseUrl);
    const reader = (mode: string): Promise<unknown> => inChild('verify.child.ts', [mode, lockstep.kafkaBrokers.join(','), lockstep.databaseUrl], ['--max-semi-space-size=16']);
    const alone = await measure(lockstep, () => sleep(seconds * 1000), 0);
    const verify = await measure(lockstep, () => reader('verify'), seconds);
    const rebuild = await measure(
      lockstep,
      async () => {
        // The damage itself is not to keep edits waiting for its locks.
        for (let of100 = 0; of100 < DAMAGED_OF_100; of100 += 1) await positions.query(`update leads set company = 'by hand' where id % 100 = ${of100}`);
        await reader('rebuild');
      },
      seconds,
    );
    await positions.close();
    const { mismatches } = await compareAll(lockstep);
    const latencies = { alone, verify, rebuild };
    return { rows, written: Math.round((rows * DAMAGED_OF_100) / 100), editsPerSecond: EDITS_PER_SECOND, latencies, mismatches: mismatches + Object.values(latencies).reduce((sum, { missing }) => sum + missing, 0) };
  });

/** @param seconds the work is done again until so many have passed. */
async function measure(lockstep: Lockstep, work: () => Promise<unknown>, seconds: number): Promise<Latencies> {
  const admin = `${lockstep.simulator?.url}/__simulator`;
  const probe = await LatencyProbe.start({ simulatorUrl: lockstep.simulator?.url ?? '', databaseUrl: lockstep.databaseUrl });
  await fetchJson(`${admin}/traffic`, { method: 'POST', body: { editsPerSecond: EDITS_PER_SECOND } });
  const until = performance.now() + seconds * 1000;
  do await work();
  while (performance.now() < until);
  await fetchJson(`${admin}/traffic`, { method: 'DELETE' });
  await waitUntilQuiet(lockstep);
  return probe.stop();
}
