import { type Lockstep, waitUntilLoaded, waitUntilQuiet } from '@lockstep/harness';
import { leads, topicOf } from '@lockstep/modules';
import { connect, migrate } from '@lockstep/postgres';

import { inChild } from './in-child.ts';
import { Positions } from './positions.ts';
import { fillTopic, newerByADay, readTopic } from './projector.ts';
import { leadsOnly, withLockstep } from './with-lockstep.ts';

type Measured = { readonly seconds: number; readonly differences: number; readonly rssMb: number };

/** Verifying a healthy table, and rebuilding it into an empty database with its proof, beside a bare COPY of the table. */
export type VerifyRun = { readonly rows: number; readonly verify: Measured; readonly rebuild: Measured; readonly floor: Measured };

const ONE_IN = 5;

/** Leads of which every fifth has a second version. */
export const runVerify = (folder: string, rows: number): Promise<VerifyRun> =>
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
    const run = (mode: string): Promise<Measured> => inChild<Measured>('verify.child.ts', [mode, lockstep.kafkaBrokers.join(','), lockstep.databaseUrl], ['--max-semi-space-size=16']);
    const floor = await run('floor');
    const verify = await run('verify');
    await loseDatabase(lockstep, positions);
    const rebuild = await run('rebuild');
    await positions.close();
    return { rows, verify, rebuild, floor };
  });

async function loseDatabase({ databaseUrl }: Lockstep, positions: Positions): Promise<void> {
  await positions.query('drop schema lockstep cascade');
  await positions.query('truncate leads cascade');
  const db = await connect({ url: databaseUrl, poolSize: 3 });
  await migrate(db, [leads]);
  await db.close();
}
