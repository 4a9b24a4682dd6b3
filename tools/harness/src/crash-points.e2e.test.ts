import pg from 'pg';
import { expect, test } from 'vitest';

import type { AppName } from './app-process.ts';
import { waitUntilCaughtUp } from './caught-up.ts';
import { compareAll } from './compare-all.ts';
import { fetchJson } from './http.ts';
import type { Lockstep } from './lockstep.ts';
import { waitUntilLoaded, waitUntilQuiet } from './quiet.ts';
import { withLockstep } from './testing.ts';
import { waitUntil } from './wait-until.ts';

const modules = ['Leads', 'Deals', 'Products'];
const simulator = ['--leads', '600', '--deals', '50', '--products', '50', '--downloads-per-minute', '0'];

const crm = <T>({ simulator: running }: Lockstep, path: string, options?: { method: 'POST' | 'DELETE'; body?: object }): Promise<T> => fetchJson<T>(`${running?.url}/__simulator/${path}`, options);
const someLead = async (lockstep: Lockstep): Promise<string> => (await crm<string[]>(lockstep, 'ids/Leads?first=1'))[0] as string;

const edit = async (lockstep: Lockstep): Promise<void> => void (await crm(lockstep, `records/Leads/${await someLead(lockstep)}`, { method: 'POST', body: { Company: `At ${performance.now()}` } }));
// A deletion within seconds of a look leaves a doubt, and a doubt makes a look wanted.
const doubt = async (lockstep: Lockstep): Promise<void> => void (await crm(lockstep, `records/Leads/${await someLead(lockstep)}`, { method: 'DELETE' }));
const refresh = async ({ urls }: Lockstep): Promise<void> => void (await fetchJson(`${urls.scheduler}/modules/Leads/refresh`, { method: 'POST' }));
// Catch-ups come by themselves.
const wait = async (): Promise<void> => undefined;

/** What brings each app past its crash points. */
const crashes: Readonly<Record<AppName, readonly (readonly [point: string, provoke: (lockstep: Lockstep) => Promise<void>])[]>> = {
  ingress: [['hint-stored', edit], ['look-published', edit], ['page-published', refresh], ['window-published', wait]],
  scheduler: [['catch-up-read', wait], ['watermark-noted', wait], ['job-created', refresh], ['looks-hinted', doubt]],
  projector: [['batch-committed', edit]],
};

/** Starts the app with the point armed, and returns once it has ended there. */
async function crashAt(lockstep: Lockstep, app: AppName, point: string, provoke: (lockstep: Lockstep) => Promise<void>): Promise<void> {
  // It may end before it was ready.
  lockstep.restart(app, { LOCKSTEP_CRASH_AT: point }).catch(() => undefined);
  const armed = lockstep.apps[app];
  const end = await waitUntil(
    `${app} to end at ${point}`,
    async () => {
      if (armed?.isRunning() !== true) return await armed?.ended;
      await provoke(lockstep);
      return null;
    },
    { everyMs: 300 },
  );
  expect([point, end]).toEqual([point, 'SIGKILL']);
}

async function states({ databaseUrl }: Lockstep): Promise<string[]> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    return (await client.query<{ state: string }>(`select distinct kind || ' ' || state as state from lockstep.bulk_run order by 1`)).rows.map(({ state }) => state);
  } finally {
    await client.end();
  }
}

test('a crash at any point between a step and its note ends with equality', async () => {
  await withLockstep({ simulator, env: { SCHEDULER_CATCH_UP_INTERVAL_MS: '1000' } }, async (lockstep) => {
    await waitUntilLoaded(lockstep);
    // The apps crash at the same time, so each also goes on while the others are away.
    await Promise.all(
      Object.entries(crashes).map(async ([name, points]) => {
        const app = name as AppName;
        await lockstep.apps[app]?.stop();
        for (const [point, provoke] of points) await crashAt(lockstep, app, point, provoke);
        await lockstep.restart(app);
      }),
    );
    await waitUntil('the refreshes', async () => ((await states(lockstep)).includes('refresh running') ? null : true));
    await waitUntilCaughtUp(lockstep, { modules });
    await waitUntilQuiet(lockstep);
    expect(await states(lockstep)).toEqual(['initial complete', 'refresh complete']);
    expect(await compareAll(lockstep)).toMatchObject({ mismatches: 0, examples: [] });
  });
});
