import pg from 'pg';
import { describe, expect, test } from 'vitest';

import { waitUntilCaughtUp } from './caught-up.ts';
import { compareAll } from './compare-all.ts';
import { fetchJson, metricSum } from './http.ts';
import type { Lockstep } from './lockstep.ts';
import { statusOf, waitUntilLoaded, waitUntilQuiet } from './quiet.ts';
import { withLockstep } from './testing.ts';
import { waitUntil } from './wait-until.ts';
import { whileStopped } from './while-stopped.ts';

const simulator = ['--leads', '600', '--deals', '50', '--products', '50'];
const modules = ['Leads', 'Deals', 'Products'];
const everySecond = { SCHEDULER_CATCH_UP_INTERVAL_MS: '1000' };
const never = { SCHEDULER_CATCH_UP_INTERVAL_MS: '3600000' };

const crm = <T>({ simulator: running }: Lockstep, path: string, method?: 'POST' | 'DELETE', body?: object): Promise<T> => fetchJson<T>(`${running?.url}/__simulator/${path}`, method === undefined ? {} : { method, ...(body === undefined ? {} : { body }) });
const ids = (lockstep: Lockstep, count: number): Promise<string[]> => crm(lockstep, `ids/Leads?first=${count}`);

async function query<T extends object>({ databaseUrl }: Lockstep, sql: string, values: unknown[] = []): Promise<T[]> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    return (await client.query<T>(sql, values)).rows;
  } finally {
    await client.end();
  }
}

async function loaded(lockstep: Lockstep): Promise<void> {
  await waitUntilLoaded(lockstep);
  await waitUntilQuiet(lockstep);
}

async function caughtUp(lockstep: Lockstep): Promise<void> {
  await waitUntilCaughtUp(lockstep, { modules });
  await waitUntilQuiet(lockstep);
}

describe('nothing is lost', () => {
  test('when the CRM sends no notification at all', async () => {
    await withLockstep({ simulator, env: everySecond }, async (lockstep) => {
      await loaded(lockstep);
      await crm(lockstep, 'faults', 'POST', { drop: 1 });
      const [edited, deleted, ...mass] = await ids(lockstep, 50);
      await crm(lockstep, `records/Leads/${edited}`, 'POST', { Company: 'Never notified' });
      await crm(lockstep, `records/Leads/${deleted}`, 'DELETE');
      await crm(lockstep, 'records/Leads', 'POST', { Last_Name: 'Neither notified' });
      await crm(lockstep, 'mass-edit', 'POST', { module: 'Leads', ids: mass, fields: { Lead_Status: 'Contacted' }, silent: true });
      await caughtUp(lockstep);
      expect(await compareAll(lockstep)).toMatchObject({ rows: 700, mismatches: 0, examples: [] });
      const [row] = await query<{ unhinted: string }>(lockstep, 'select sum(seen) as unhinted from lockstep.catch_up');
      expect(Number(row?.unhinted)).toBeGreaterThanOrEqual(50);
    });
  });

  test('while everything is down, and freshness never claims what is not there', async () => {
    await withLockstep({ simulator, env: everySecond }, async (lockstep) => {
      await loaded(lockstep);
      await caughtUp(lockstep);
      const outageBegan = Date.now();
      await Promise.all(Object.values(lockstep.apps).map((app) => app.stop()));
      const [edited, deleted] = await ids(lockstep, 2);
      await crm(lockstep, `records/Leads/${edited}`, 'POST', { Company: 'While we were away' });
      await crm(lockstep, `records/Leads/${deleted}`, 'DELETE');
      await crm(lockstep, 'records/Deals', 'POST', { Deal_Name: 'Also' });
      const fresh = await query<{ seen: number | null }>(lockstep, 'select extract(epoch from seen_up_to) * 1000 as seen from lockstep.freshness');
      expect(fresh).toHaveLength(3);
      for (const { seen } of fresh) expect(Number(seen)).toBeLessThan(outageBegan);
      await Promise.all((['ingress', 'projector', 'scheduler'] as const).map((name) => lockstep.restart(name)));
      await caughtUp(lockstep);
      expect(await compareAll(lockstep)).toMatchObject({ rows: 700, mismatches: 0, examples: [] });
    });
  });

  test('when the look that answers a notification still sees what was before', async () => {
    await withLockstep({ simulator, env: never }, async (lockstep) => {
      await loaded(lockstep);
      await crm(lockstep, 'faults', 'POST', { staleMs: 1_500 });
      const [edited] = await ids(lockstep, 1);
      await crm(lockstep, `records/Leads/${edited}`, 'POST', { Company: 'Seen late' });
      const created = await crm<{ id: string }>(lockstep, 'records/Leads', 'POST', { Last_Name: 'Found late' });
      const company = async () => (await query<{ company: string }>(lockstep, 'select company from leads where id = $1', [edited]))[0]?.company;
      await waitUntil('the edit', async () => ((await company()) === 'Seen late' ? true : null), { timeoutMs: 20_000, everyMs: 100 });
      await waitUntil('the creation', async () => (await query(lockstep, 'select from leads where id = $1', [created.id]))[0] ?? null, { timeoutMs: 20_000, everyMs: 100 });
      await waitUntilQuiet(lockstep);
      expect(await compareAll(lockstep)).toMatchObject({ rows: 701, mismatches: 0, examples: [] });
    });
  });

  test('when a record is deleted and the look sees it for a while longer', async () => {
    await withLockstep({ simulator, env: everySecond }, async (lockstep) => {
      await loaded(lockstep);
      await crm(lockstep, 'faults', 'POST', { staleMs: 2_000 });
      const [deleted] = await ids(lockstep, 1);
      await crm(lockstep, `records/Leads/${deleted}`, 'POST', { Company: 'Edited' });
      await crm(lockstep, `records/Leads/${deleted}`, 'DELETE');
      await caughtUp(lockstep);
      await caughtUp(lockstep);
      expect(await compareAll(lockstep)).toMatchObject({ rows: 699, mismatches: 0, examples: [] });
    });
  });

  test('when a record is restored from the recycle bin with its old modified time, without a notification', async () => {
    await withLockstep({ simulator, env: { ...everySecond, LOCKSTEP_EPSILON_MS: '1000' } }, async (lockstep) => {
      await loaded(lockstep);
      const [deleted] = await ids(lockstep, 1);
      await crm(lockstep, `records/Leads/${deleted}`, 'DELETE');
      await caughtUp(lockstep);
      expect(await compareAll(lockstep)).toMatchObject({ rows: 699, mismatches: 0 });
      await crm(lockstep, `records/Leads/${deleted}/restore`, 'POST', { silent: true });
      await waitUntil('the row', async () => (await query(lockstep, 'select from leads where id = $1 and deleted_at is null', [deleted]))[0] ?? null, { timeoutMs: 30_000, everyMs: 100 });
      await caughtUp(lockstep);
      expect(await compareAll(lockstep)).toMatchObject({ rows: 700, mismatches: 0, examples: [] });
    });
  });

  test('when a formula changes without a new modified time, once the module is read again; what is known already is only confirmed', async () => {
    await withLockstep({ simulator, env: everySecond }, async (lockstep) => {
      await loaded(lockstep);
      const [changed] = await ids(lockstep, 1);
      await crm(lockstep, 'mass-edit', 'POST', { module: 'Leads', ids: [changed], keepsTime: true, fields: { Lead_Score: 4711 } });
      await caughtUp(lockstep);
      expect(await compareAll(lockstep)).toMatchObject({ mismatches: 1 });
      await fetchJson(`${lockstep.urls.scheduler}/modules/Leads/refresh`, { method: 'POST' });
      await waitUntil('the refresh', async () => (await query(lockstep, `select from lockstep.bulk_run where kind = 'refresh' and state = 'complete'`))[0] ?? null, { timeoutMs: 30_000, everyMs: 100 });
      await waitUntilQuiet(lockstep);
      expect(await compareAll(lockstep)).toMatchObject({ rows: 700, mismatches: 0, examples: [] });
      expect(await metricSum(`${lockstep.urls.projector}/metrics`, 'lockstep_projector_outdated_bulk_rows_total')).toBe(0);
    });
  });

  test('when the CRM answers with errors, pages of HTML, cut connections and half a file', async () => {
    await withLockstep({ simulator: [...simulator, '--page-size', '300', '--edits-per-second', '20', '--creates-per-second', '2', '--deletes-per-second', '2', '--downloads-per-minute', '0'], env: everySecond }, async (lockstep) => {
      await crm(lockstep, 'faults', 'POST', { serverError: 0.05, htmlError: 0.05, tooMany: 0.05, cut: 0.05, slow: 0.1, slowMs: 300, truncatedResult: 0.3, drop: 0.3, double: 0.2, reorder: 0.3 });
      await waitUntilLoaded(lockstep, { timeoutMs: 150_000 });
      await crm(lockstep, 'traffic', 'DELETE');
      await crm(lockstep, 'faults', 'POST', { serverError: 0, htmlError: 0, tooMany: 0, cut: 0, slow: 0, truncatedResult: 0 });
      await caughtUp(lockstep);
      expect(await compareAll(lockstep)).toMatchObject({ mismatches: 0, examples: [] });
    });
  });
});

describe('deletions', () => {
  test('more than are believed are held until a person has said go', async () => {
    await withLockstep({ simulator, env: everySecond }, async (lockstep) => {
      await loaded(lockstep);
      await caughtUp(lockstep);
      await crm(lockstep, 'faults', 'POST', { drop: 1 });
      // The list is read when all of them are in it: 100 alone would be believed.
      await whileStopped(lockstep, 'ingress', async () => {
        for (const id of await ids(lockstep, 120)) await crm(lockstep, `records/Leads/${id}`, 'DELETE');
      });
      const held = await waitUntil('the breaker', async () => (await query<{ deletions: number; allowed: number }>(lockstep, 'select deletions, allowed from lockstep.held_deletions'))[0] ?? null, { timeoutMs: 30_000, everyMs: 100 });
      expect(held).toEqual({ deletions: 120, allowed: 100 });
      expect(await query(lockstep, 'select from leads where deleted_at is not null')).toEqual([]);
      const incident = await waitUntil('an incident', async () => (await fetchJson<{ module: string; kind: string }[]>(`${lockstep.urls.scheduler}/incidents`)).find(({ kind }) => kind === 'deletions-held') ?? null, { timeoutMs: 20_000, everyMs: 200 });
      expect(incident).toMatchObject({ module: 'Leads', kind: 'deletions-held' });
      await waitUntil('the status to say so', async () => (await statusOf(lockstep)).modules.some(({ module, state }) => module === 'Leads' && state === 'deletions held') || null, { timeoutMs: 20_000, everyMs: 200 });
      await fetchJson(`${lockstep.urls.scheduler}/held-deletions/Leads/release`, { method: 'POST' });
      await caughtUp(lockstep);
      expect(await compareAll(lockstep)).toMatchObject({ rows: 580, mismatches: 0, examples: [] });
    });
  });
});
