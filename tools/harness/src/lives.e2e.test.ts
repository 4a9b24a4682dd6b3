import pg from 'pg';
import { expect, test } from 'vitest';

import { waitUntilCaughtUp } from './caught-up.ts';
import { compareAll } from './compare-all.ts';
import { fetchJson } from './http.ts';
import type { Lockstep } from './lockstep.ts';
import { waitUntilLoaded, waitUntilQuiet } from './quiet.ts';
import { withLockstep } from './testing.ts';
import { waitUntil } from './wait-until.ts';

const simulator = ['--leads', '600', '--deals', '50', '--products', '50'];
const modules = ['Leads', 'Deals', 'Products'];

const crm = <T>({ simulator: running }: Lockstep, path: string, body?: object): Promise<T> => fetchJson<T>(`${running?.url}/__simulator/${path}`, body === undefined ? {} : { method: 'POST', body });
const ids = (lockstep: Lockstep, module: string, count: number): Promise<string[]> => crm(lockstep, `ids/${module}?first=${count}`);

async function query<T extends object>({ databaseUrl }: Lockstep, sql: string): Promise<T[]> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    return (await client.query<T>(sql)).rows;
  } finally {
    await client.end();
  }
}

const row = <T extends object>(lockstep: Lockstep, what: string, sql: string): Promise<T> => waitUntil(what, async () => (await query<T>(lockstep, sql))[0] ?? null, { timeoutMs: 30_000, everyMs: 100 });

test('records live: converted, merged away, hidden and seen again; every column of every row is right at the end, and none was removed', async () => {
  await withLockstep({ simulator, env: { SCHEDULER_CATCH_UP_INTERVAL_MS: '1000', LOCKSTEP_EPSILON_MS: '1000' } }, async (lockstep) => {
    await waitUntilLoaded(lockstep);
    await waitUntilQuiet(lockstep);
    const [loser = '', master = ''] = await ids(lockstep, 'Products', 2);
    const [deal = ''] = await ids(lockstep, 'Deals', 1);
    const leads = await ids(lockstep, 'Leads', 200);
    await crm(lockstep, `records/Deals/${deal}`, { Main_Product: loser });
    await row(lockstep, 'the deal', `select from deals where id = ${deal} and main_product_id = ${loser}`);

    await crm(lockstep, `records/Leads/${leads[0]}/convert`, {});
    await crm(lockstep, `records/Products/${loser}/merge`, { into: master });
    await row(lockstep, 'the conversion', `select from leads where id = ${leads[0]} and converted`);
    await row(lockstep, 'the referrer of the merged', `select from deals where id = ${deal} and main_product_id = ${master}`);

    await crm(lockstep, 'hidden', { module: 'Leads', ids: leads, hidden: true });
    await waitUntilCaughtUp(lockstep, { modules });
    await fetchJson(`${lockstep.urls.scheduler}/modules/Leads/refresh`, { method: 'POST' });
    const { details } = await row<{ details: string }>(lockstep, 'an incident', `select details from lockstep.incident where kind = 'records-hidden' and closed_at is null`);
    expect(details).toMatch(/^200 records/);
    expect(await query(lockstep, `select hidden::int as hidden from lockstep.freshness where module = 'Leads'`)).toEqual([{ hidden: 200 }]);
    expect(await query(lockstep, 'select from leads where deleted_at is not null')).toEqual([]);

    await crm(lockstep, 'hidden', { module: 'Leads', ids: leads, hidden: false });
    await fetchJson(`${lockstep.urls.scheduler}/modules/Leads/refresh`, { method: 'POST' });
    await row(lockstep, 'the end of it', `select from lockstep.incident where kind = 'records-hidden' and closed_at is not null`);
    await waitUntilCaughtUp(lockstep, { modules });
    await waitUntilQuiet(lockstep);
    expect(await compareAll(lockstep)).toMatchObject({ rows: 699, mismatches: 0, examples: [] });
  });
});
