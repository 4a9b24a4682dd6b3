import pg from 'pg';
import { expect, test } from 'vitest';

import { type AppName, type AppProcess, appOf } from './app-process.ts';
import { waitUntilCaughtUp } from './caught-up.ts';
import { compareAll } from './compare-all.ts';
import { fetchJson, metricSum } from './http.ts';
import type { Lockstep } from './lockstep.ts';
import { waitUntilLoaded, waitUntilQuiet } from './quiet.ts';
import { withLockstep } from './testing.ts';
import { waitUntil } from './wait-until.ts';

const HAND_OVER_MS = 10_000;
const [LEADS, PAGE_SIZE] = [4_000, 500];
const simulator = ['--leads', String(LEADS), '--deals', '0', '--products', '0', '--page-size', String(PAGE_SIZE), '--job-delay-ms', '1000', '--downloads-per-minute', '0', '--edits-per-second', '20', '--creates-per-second', '2'];

const instances = ({ apps }: Lockstep, app: AppName): AppProcess[] => Object.values(apps).filter(({ name, isRunning }) => appOf(name) === app && isRunning());

/** The one instance whose gauge says 1. */
const holder = (lockstep: Lockstep, app: AppName, gauge: string): Promise<AppProcess> =>
  waitUntil(`a holder of ${gauge}`, async () => {
    const values = await Promise.all(instances(lockstep, app).map(async (one) => [one, await metricSum(`${one.url}/metrics`, gauge)] as const));
    const holders = values.filter(([, value]) => value === 1);
    expect(holders.length).toBeLessThanOrEqual(1);
    return holders[0]?.[0];
  }, { everyMs: 50 });

async function query<T extends object>({ databaseUrl }: Lockstep, sql: string, values: unknown[] = []): Promise<T[]> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    return (await client.query<T>(sql, values)).rows;
  } finally {
    await client.end();
  }
}

/** Waits for a page in this state: then the next step is another process's, or some time away. */
const pageIs = (lockstep: Lockstep, state: string): Promise<object> =>
  waitUntil(`a page that is ${state}`, async () => (await query(lockstep, `select from lockstep.bulk_page where state = $1 and page_number > 1`, [state]))[0], { everyMs: 20 });

/** Kills a process; returns how long it took until another did its work. */
async function handOver(killed: AppProcess, taken: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await killed.kill('SIGKILL');
  await taken();
  return performance.now() - began;
}

test('two schedulers, two projectors and three receivers share the work; the loss of a leader, the reader and a projector recovers within seconds', async () => {
  await withLockstep({ simulator, modules: ['Leads'], instances: { scheduler: 2, projector: 2, ingress: 3 }, env: { SCHEDULER_CATCH_UP_INTERVAL_MS: '1000' } }, async (lockstep) => {
    const admin = `${lockstep.simulator?.url}/__simulator`;
    const leader = await holder(lockstep, 'scheduler', 'lockstep_scheduler_is_leader');
    const reader = await holder(lockstep, 'ingress', 'lockstep_ingress_is_reader');
    await pageIs(lockstep, 'requested');
    const led = await handOver(leader, () => holder(lockstep, 'scheduler', 'lockstep_scheduler_is_leader'));
    await pageIs(lockstep, 'ready');
    const read = await handOver(reader, () => holder(lockstep, 'ingress', 'lockstep_ingress_is_reader'));
    const [projector] = instances(lockstep, 'projector');
    const ids = await fetchJson<string[]>(`${admin}/ids/Leads?first=40`);
    const projected = await handOver(projector as AppProcess, async () => {
      const { modifiedTime } = await fetchJson<{ modifiedTime: string }>(`${admin}/mass-edit`, { method: 'POST', body: { module: 'Leads', ids, fields: { Company: 'After the loss' } } });
      const arrived = () => query(lockstep, 'select from leads where id = any($1) and modified_time >= $2', [ids, modifiedTime]);
      await waitUntil('rows of every partition', async () => ((await arrived()).length === ids.length ? true : null), { everyMs: 50 });
    });
    for (const ms of [led, read, projected]) expect(ms).toBeLessThan(HAND_OVER_MS);

    const survivors = { ...lockstep, urls: { ...lockstep.urls, scheduler: instances(lockstep, 'scheduler')[0]?.url ?? '' } };
    await waitUntilLoaded(survivors);
    await fetchJson(`${admin}/traffic`, { method: 'DELETE' });
    await waitUntilCaughtUp(survivors, { modules: ['Leads'] });
    await waitUntilQuiet(survivors);
    expect(await compareAll(survivors, ['Leads'])).toMatchObject({ mismatches: 0, examples: [] });

    const { byKind } = await fetchJson<{ byKind: Record<string, { calls: number }> }>(`${admin}/counters`);
    expect(byKind['bulk create']?.calls).toBe((await query(lockstep, 'select from lockstep.bulk_page')).length);
    for (const { url } of instances(lockstep, 'ingress')) expect(await metricSum(`${url}/metrics`, 'lockstep_ingress_notifications_total', 'status="200"')).toBeGreaterThan(0);
    for (const { url } of instances(lockstep, 'projector')) expect(await metricSum(`${url}/metrics`, 'lockstep_projector_observations_total')).toBeGreaterThan(0);
  });
});
