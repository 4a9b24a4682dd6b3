import pg from 'pg';
import { describe, expect, test } from 'vitest';

import { runCommand } from './command-line.ts';
import { fetchJson } from './http.ts';
import type { Lockstep } from './lockstep.ts';
import { waitUntilLoaded, waitUntilQuiet } from './quiet.ts';
import { withLockstep } from './testing.ts';
import { waitUntil } from './wait-until.ts';

type Incident = { readonly module: string; readonly kind: string; readonly details: string };

async function query<T extends object>({ databaseUrl }: Lockstep, sql: string): Promise<T[]> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    return (await client.query<T>(sql)).rows;
  } finally {
    await client.end();
  }
}

const differing = async ({ urls }: Lockstep): Promise<Incident | null> => {
  const incidents = await fetchJson<Incident[]>(`${urls.scheduler}/incidents`);
  return incidents.find(({ kind }) => kind === 'table-differs') ?? null;
};
const verified = (lockstep: Lockstep) => query<{ module: string; differences: number | null }>(lockstep, 'select module, differences::int as differences from lockstep.freshness where verified_at is not null order by module');

describe('every table', () => {
  test('is compared with its log from time to time; what someone changed by hand is an incident until it is written back', async () => {
    const simulator = ['--leads', '300', '--deals', '50', '--products', '50'];
    await withLockstep({ simulator, env: { LOCKSTEP_VERIFY_EVERY_HOURS: '0.0003' } }, async (lockstep) => {
      await waitUntilLoaded(lockstep);
      await waitUntilQuiet(lockstep);
      await waitUntil('a verification of each module', async () => ((await verified(lockstep)).length === 3 ? true : null), { timeoutMs: 30_000, everyMs: 100 });
      expect(await verified(lockstep)).toEqual([{ module: 'Deals', differences: 0 }, { module: 'Leads', differences: 0 }, { module: 'Products', differences: 0 }]);
      expect(await differing(lockstep)).toBeNull();

      const [row] = await query<{ id: string }>(lockstep, `update leads set company = 'by hand' where id = (select min(id) from leads) returning id::text`);
      const incident = await waitUntil('the incident', () => differing(lockstep), { timeoutMs: 30_000, everyMs: 100 });
      expect(incident).toMatchObject({ module: 'Leads', details: expect.stringContaining(`row differs: ${row?.id}`) as string });
      expect((await verified(lockstep)).filter(({ differences }) => differences !== 0)).toEqual([{ module: 'Leads', differences: 1 }]);

      expect(await runCommand(lockstep, 'rebuild', 'leads')).toMatchObject({ code: 0, out: expect.stringMatching(/written: 1 row and 0 register entries/) as string });
      await waitUntil('the end of the incident', async () => ((await differing(lockstep)) === null ? true : null), { timeoutMs: 30_000, everyMs: 100 });
      expect(await verified(lockstep)).toMatchObject([{ differences: 0 }, { differences: 0 }, { differences: 0 }]);
    });
  });
});
