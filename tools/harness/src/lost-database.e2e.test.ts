import pg from 'pg';
import { describe, expect, test } from 'vitest';

import { waitUntilCaughtUp } from './caught-up.ts';
import { runCommand } from './command-line.ts';
import { compareAll } from './compare-all.ts';
import { fetchJson } from './http.ts';
import type { Lockstep } from './lockstep.ts';
import { waitUntilLoaded, waitUntilQuiet } from './quiet.ts';
import { withLockstep } from './testing.ts';
import { waitUntil } from './wait-until.ts';

const simulator = ['--leads', '600', '--deals', '50', '--products', '50'];
const modules = ['Leads', 'Deals', 'Products'];

type Counters = { readonly byKind: Readonly<Record<string, { readonly calls: number }>> };

const crm = <T>({ simulator: running }: Lockstep, path: string, method?: 'POST' | 'DELETE', body?: object): Promise<T> => fetchJson<T>(`${running?.url}/__simulator/${path}`, method === undefined ? {} : { method, ...(body === undefined ? {} : { body }) });

async function query<T extends object>({ databaseUrl }: Lockstep, sql: string): Promise<T[]> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    return (await client.query<T>(sql)).rows;
  } finally {
    await client.end();
  }
}

/** Schema and rows are gone, and the apps are not running. */
async function loseDatabase(lockstep: Lockstep): Promise<void> {
  await Promise.all(Object.values(lockstep.apps).map((app) => app.stop()));
  await query(lockstep, 'drop schema lockstep cascade; truncate leads, deals, products cascade');
}

describe('a database that was lost', () => {
  test('comes back from the log when the apps start, and what happened meanwhile by catch-up: nothing is read in bulk', async () => {
    await withLockstep({ simulator, env: { SCHEDULER_CATCH_UP_INTERVAL_MS: '1000' } }, async (lockstep) => {
      await waitUntilLoaded(lockstep);
      await waitUntilCaughtUp(lockstep, { modules });
      await loseDatabase(lockstep);
      const [edited, deleted] = await crm<string[]>(lockstep, 'ids/Leads?first=2');
      await crm(lockstep, `records/Leads/${edited}`, 'POST', { Company: 'While it was lost' });
      await crm(lockstep, `records/Leads/${deleted}`, 'DELETE');
      await crm(lockstep, 'records/Deals', 'POST', { Deal_Name: 'Also' });
      const jobs = async (): Promise<number | undefined> => (await crm<Counters>(lockstep, 'counters')).byKind['bulk create']?.calls;
      const before = await jobs();
      await Promise.all((['ingress', 'projector', 'scheduler'] as const).map((name) => lockstep.restart(name)));
      await waitUntilCaughtUp(lockstep, { modules });
      await waitUntilQuiet(lockstep);
      expect(await compareAll(lockstep)).toMatchObject({ rows: 700, mismatches: 0, examples: [] });
      expect(before).toBeGreaterThan(0);
      expect(await jobs()).toBe(before);
      expect(await query(lockstep, `select kind, state, count(*)::int as n from lockstep.bulk_run group by 1, 2`)).toEqual([{ kind: 'initial', state: 'complete', n: 3 }]);
    });
  });

  test('whose schema was dropped while everything ran is named in plain words, and comes back once the apps are started again', async () => {
    await withLockstep({ simulator, env: { SCHEDULER_CATCH_UP_INTERVAL_MS: '1000' } }, async (lockstep) => {
      await waitUntilLoaded(lockstep);
      await waitUntilCaughtUp(lockstep, { modules });
      await query(lockstep, 'drop schema lockstep cascade');
      expect(await runCommand(lockstep, 'status')).toMatchObject({ code: 2, err: expect.stringMatching(/schema "lockstep" of the database was dropped, .* start the apps again/) as unknown });
      const [edited] = await crm<string[]>(lockstep, 'ids/Leads?first=1');
      await crm(lockstep, `records/Leads/${edited}`, 'POST', { Company: 'While it was lost' });
      await Promise.all(Object.values(lockstep.apps).map((app) => app.stop()));
      await Promise.all((['ingress', 'projector', 'scheduler'] as const).map((name) => lockstep.restart(name)));
      await waitUntilCaughtUp(lockstep, { modules });
      await waitUntilQuiet(lockstep);
      expect(await compareAll(lockstep)).toMatchObject({ rows: 700, mismatches: 0, examples: [] });
    });
  });

  test('comes back by one command, and knows then how complete it is', async () => {
    await withLockstep({ simulator, env: { SCHEDULER_CATCH_UP_INTERVAL_MS: '1000' } }, async (lockstep) => {
      await waitUntilLoaded(lockstep);
      await waitUntilCaughtUp(lockstep, { modules });
      await waitUntilQuiet(lockstep);
      await loseDatabase(lockstep);
      const { code, out } = await runCommand(lockstep, 'rebuild');
      expect(code).toBe(0);
      expect(out.match(/by the log the CRM was read up to .*: catch-ups go on from there/g)).toHaveLength(3);
      expect(out.match(/register and table are what the log says/g)).toHaveLength(3);
      expect(await compareAll(lockstep)).toMatchObject({ rows: 700, mismatches: 0, examples: [] });
      expect(await query(lockstep, 'select module, seen_up_to is not null as seen, refreshed_at is not null as refreshed, differences::int from lockstep.freshness order by 1')).toEqual(modules.toSorted().map((module) => ({ module, seen: true, refreshed: true, differences: 0 })));
    });
  });

  test('is replayed before anything is read: deletions that are too many to be believed are held, as they would have been', async () => {
    await withLockstep({ simulator, env: { SCHEDULER_CATCH_UP_INTERVAL_MS: '1000' } }, async (lockstep) => {
      await waitUntilLoaded(lockstep);
      await waitUntilCaughtUp(lockstep, { modules });
      await loseDatabase(lockstep);
      for (const id of await crm<string[]>(lockstep, 'ids/Leads?first=120')) await crm(lockstep, `records/Leads/${id}`, 'DELETE');
      // The projector comes last: what does not wait for it knows no record.
      await Promise.all((['ingress', 'scheduler'] as const).map((name) => lockstep.restart(name)));
      await waitUntil('the restored claims', async () => (await query(lockstep, 'select from lockstep.watermark')).length === 6 || null, { timeoutMs: 30_000, everyMs: 100 });
      await lockstep.restart('projector');
      await waitUntil('held deletions', async () => (await query(lockstep, 'select from lockstep.held_deletions'))[0] ?? null, { timeoutMs: 60_000, everyMs: 100 });
      await waitUntilQuiet(lockstep);
      expect(await query(lockstep, 'select count(*)::int as alive from leads where deleted_at is null')).toEqual([{ alive: 600 }]);
    });
  });
});
