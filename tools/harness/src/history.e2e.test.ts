import pg from 'pg';
import { describe, expect, test } from 'vitest';

import { waitUntilCaughtUp } from './caught-up.ts';
import { runCommand } from './command-line.ts';
import { fetchJson } from './http.ts';
import type { Lockstep } from './lockstep.ts';
import { waitUntilLoaded, waitUntilQuiet } from './quiet.ts';
import { withLockstep } from './testing.ts';
import { waitUntil } from './wait-until.ts';

type Version = { readonly id: string; readonly operation: string; readonly record: { readonly fields?: Readonly<Record<string, unknown>> } | null };
type Entry = { readonly outcome: string; readonly origin: string; readonly reading: string; readonly partition: number; readonly offset: number; readonly isAlive: boolean; readonly event: { readonly fields?: readonly unknown[] } };
type Explained = { readonly isAlive: boolean; readonly row: readonly { readonly column: string; readonly inTable: unknown; readonly from: { readonly partition: number; readonly offset: number } | null }[] };

const crm = <T>({ simulator }: Lockstep, path: string, method?: 'POST' | 'DELETE', body?: object): Promise<T> => fetchJson<T>(`${simulator?.url}/__simulator/${path}`, method === undefined ? {} : { method, ...(body === undefined ? {} : { body }) });

async function rowOf({ databaseUrl }: Lockstep, id: string): Promise<{ readonly company: string; readonly isDeleted: boolean } | undefined> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    return (await client.query<{ company: string; isDeleted: boolean }>('select company, deleted_at is not null as "isDeleted" from leads where id = $1', [id])).rows[0];
  } finally {
    await client.end();
  }
}

describe('the history of a record', () => {
  test('is what the CRM did to it, each version with the reading that brought it; the row is the last of them', async () => {
    await withLockstep({ simulator: ['--leads', '60', '--deals', '0', '--products', '0'], modules: ['Leads'], env: { SCHEDULER_CATCH_UP_INTERVAL_MS: '1000', LOCKSTEP_EPSILON_MS: '1000' } }, async (lockstep) => {
      await waitUntilLoaded(lockstep);
      await waitUntilCaughtUp(lockstep, { modules: ['Leads'] });
      const [id = ''] = await crm<string[]>(lockstep, 'ids/Leads?first=1');
      const isSeen = (what: string, is: (row: { readonly company: string; readonly isDeleted: boolean } | undefined) => boolean) => waitUntil(what, async () => (is(await rowOf(lockstep, id)) ? true : null), { timeoutMs: 30_000, everyMs: 100 });
      const first = (await rowOf(lockstep, id))?.company;

      await crm(lockstep, `records/Leads/${id}`, 'POST', { Company: 'Notified' });
      await isSeen('the edit', (row) => row?.company === 'Notified');
      await crm(lockstep, 'faults', 'POST', { drop: 1 });
      await crm(lockstep, `records/Leads/${id}`, 'POST', { Company: 'Found' });
      await isSeen('the edit that was not notified', (row) => row?.company === 'Found');
      await crm(lockstep, 'faults', 'POST', { drop: 0 });
      await crm(lockstep, `records/Leads/${id}`, 'DELETE');
      await isSeen('the deletion', (row) => row?.isDeleted === true);
      await waitUntilQuiet(lockstep);

      const history = JSON.parse((await runCommand(lockstep, 'history', 'Leads', id, '--json')).out) as Entry[];
      const counted = history.filter(({ outcome }) => outcome === 'won' || outcome === 'deleted');
      expect(counted.slice(0, 4).map(({ origin, reading }) => [origin, reading])).toEqual([
        ['bulk', expect.stringMatching(/^initial run 1, page 1, job \d+$/)],
        ['look', expect.stringMatching(/^hint of update \d\/\d+(, again)?$/)],
        ['catch-up', expect.stringMatching(/^catch-up \d+$/)],
        ['deleted-list', expect.stringMatching(/^(hint of delete \d\/\d+|catch-up \d+)$/)],
      ]);
      const versions = (await crm<Version[]>(lockstep, 'history?limit=1000')).filter((version) => version.id === id);
      expect(versions.map(({ operation }) => operation)).toEqual(['update', 'update', 'delete']);
      const won = counted.filter(({ outcome }) => outcome === 'won');
      for (const [at, company] of [first, 'Notified', 'Found'].entries()) expect(won[at]?.event.fields).toContain(company);

      const explained = JSON.parse((await runCommand(lockstep, 'explain', 'Leads', id, '--json')).out) as Explained;
      const last = won.at(-1);
      expect(explained.isAlive).toBe(false);
      expect(explained.row.find(({ column }) => column === 'company')).toMatchObject({ inTable: 'Found', from: { partition: last?.partition, offset: last?.offset } });
    });
  });
});
