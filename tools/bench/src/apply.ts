import { waitUntilLoaded, waitUntilQuiet } from '@lockstep/harness';
import { leads, topicOf } from '@lockstep/modules';

import { inChild } from './in-child.ts';
import { Positions } from './positions.ts';
import { fillTopic, newerByADay, readTopic } from './projector.ts';
import { leadsOnly, withLockstep } from './with-lockstep.ts';

type Measured = { readonly seconds: number; readonly rows: number; readonly rssMb: number };

/** Planning and applying a mapping with one more column, which was logged before, beside one UPDATE of such a column. */
export type ApplyRun = { readonly rows: number; readonly plan: Measured; readonly apply: Measured & { readonly differences: number; readonly provenSeconds: number }; readonly floor: Measured };

const ONE_IN = 5;

/** Leads of which every fifth has a second version. */
export const runApply = (folder: string, rows: number): Promise<ApplyRun> =>
  withLockstep(folder, { modules: ['Leads'], simulator: leadsOnly(rows) }, async (lockstep) => {
    const positions = await Positions.open(lockstep.databaseUrl);
    await waitUntilLoaded(lockstep, { timeoutMs: 1_800_000 });
    await waitUntilQuiet(lockstep, { timeoutMs: 600_000 });
    await Promise.all([lockstep.apps['ingress']?.stop(), lockstep.apps['scheduler']?.stop()]);
    const some = await readTopic(lockstep, Math.floor(rows / ONE_IN));
    const before = await positions.sum(topicOf(leads));
    await fillTopic(lockstep, some.map(newerByADay));
    await positions.reached(topicOf(leads), before + some.length);
    await lockstep.apps['projector']?.stop();
    await positions.query('alter table leads add column record_status text, add column bare text');
    const run = <T extends Measured>(mode: string): Promise<T> => inChild<T>('apply.child.ts', [mode, lockstep.kafkaBrokers.join(','), lockstep.databaseUrl]);
    const plan = await run('plan');
    const apply = await run<ApplyRun['apply']>('apply');
    const floor = await run('floor');
    await positions.close();
    return { rows, plan, apply, floor };
  });
