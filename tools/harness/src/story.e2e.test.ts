import { readdir, stat } from 'node:fs/promises';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import pg from 'pg';
import { describe, expect, onTestFinished, test } from 'vitest';

import type { Comparison } from './compare-all.ts';
import { compareAll } from './compare-all.ts';
import { fetchJson, metricSum } from './http.ts';
import { type Snapshot, takeSnapshot } from './comparison/snapshot.ts';
import type { Lockstep, LockstepOptions } from './lockstep.ts';
import { plantForeign } from './plant-foreign.ts';
import { waitUntilLoaded, waitUntilQuiet } from './quiet.ts';
import { withLockstep } from './testing.ts';
import { waitUntil } from './wait-until.ts';

const small = ['--leads', '600', '--deals', '50', '--products', '50'];

/** What every test ends with: nothing on its way, and every value compared with the CRM's. */
async function whenQuiet(lockstep: Lockstep, before?: Snapshot): Promise<Comparison> {
  await waitUntilQuiet(lockstep);
  return await compareAll(lockstep, undefined, before === undefined ? {} : { before });
}
const inStep = { mismatches: 0, examples: [] };

const editLead = ({ simulator }: Lockstep, id: string, fields: object): Promise<unknown> => fetchJson(`${simulator?.url}/__simulator/records/Leads/${id}`, { method: 'POST', body: fields });
const someLead = async ({ simulator }: Lockstep, at: number): Promise<string> => (await fetchJson<string[]>(`${simulator?.url}/__simulator/ids/Leads?first=${at + 1}`))[at] as string;

async function valueOf({ databaseUrl }: Lockstep, sql: string, values: unknown[]): Promise<unknown> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const { rows } = await client.query<Record<string, unknown>>(sql, values);
    return Object.values(rows[0] ?? {})[0];
  } finally {
    await client.end();
  }
}

describe('the source article\'s story', () => {
  test('an edit during the bulk read wins over the CSV, which still holds the old value', async () => {
    const spoolDir = mkdtempSync(join(tmpdir(), 'lockstep-spool-'));
    onTestFinished(() => rmSync(spoolDir, { recursive: true, force: true }));
    await withLockstep({ simulator: [...small, '--job-delay-ms', '3000', '--spool-dir', spoolDir], modules: ['Leads'] }, async (lockstep) => {
      const id = await someLead(lockstep, 300);
      // The file is written half way through the job, before it is said to be complete.
      await waitUntil('the CSV', async () => {
        const files = await readdir(spoolDir);
        const sizes = await Promise.all(files.map(async (file) => (await stat(join(spoolDir, file))).size));
        return sizes.some((size) => size > 0) ? true : null;
      });
      await editLead(lockstep, id, { Company: 'Newer than the CSV' });
      await waitUntilLoaded(lockstep);
      await waitUntilQuiet(lockstep);
      expect(await valueOf(lockstep, 'select company from leads where id = $1', [id])).toBe('Newer than the CSV');
      expect(await metricSum(`${lockstep.urls.projector}/metrics`, 'lockstep_projector_outdated_bulk_rows_total')).toBeGreaterThan(0);
      expect(await compareAll(lockstep, ['Leads'])).toMatchObject({ rows: 600, mismatches: 0 });
    });
  });

  test('after the first load creations, edits and deletions follow, and whatever belongs to others stays', async () => {
    let before: Snapshot = new Map();
    const beforeApps: LockstepOptions['beforeApps'] = async ({ databaseUrl, simulator }) => {
      await plantForeign({ databaseUrl, simulatorUrl: simulator?.url ?? '' });
      before = await takeSnapshot(databaseUrl);
    };
    await withLockstep({ simulator: small, beforeApps }, async (lockstep) => {
      await waitUntilLoaded(lockstep);
      await waitUntilQuiet(lockstep);
      const [edited, deleted] = [await someLead(lockstep, 0), await someLead(lockstep, 1)];
      const { simulator } = lockstep;
      const created = await fetchJson<{ id: string }>(`${simulator?.url}/__simulator/records/Leads`, { method: 'POST', body: { Last_Name: 'O\'Neill "Jr."', Company: 'Zeilen\numbruch, 東京' } });
      await editLead(lockstep, edited, { Company: 'Edited', Annual_Revenue: 1234567.89, Email_Opt_Out: true });
      await fetchJson(`${simulator?.url}/__simulator/records/Leads/${deleted}`, { method: 'DELETE' });
      expect(await whenQuiet(lockstep, before)).toMatchObject({ ...inStep, untouched: { differences: 0, examples: [] } });
      expect(await valueOf(lockstep, 'select company from leads where id = $1', [created.id])).toBe('Zeilen\numbruch, 東京');
      expect(await valueOf(lockstep, 'select deleted_at is not null from leads where id = $1', [deleted])).toBe(true);
      await waitUntil('our count of credits to be the CRM\'s', async () => {
        const { credits } = await fetchJson<{ credits: number }>(`${simulator?.url}/__simulator/counters`);
        return Number(await valueOf(lockstep, 'select sum(look + catch_up + bulk_read + other) from lockstep.credit_use', [])) === credits ? true : null;
      });
    });
  });
});

describe('the page chain', () => {
  test.each(['v6', 'v8'] as const)('three pages on %s', async (apiVersion) => {
    await withLockstep({ simulator: [...small, '--page-size', '200'], apiVersion }, async (lockstep) => {
      const loaded = await waitUntilLoaded(lockstep);
      expect(loaded.modules.map(({ module, run }) => [module, run?.pages, run?.pagesPublished, run?.rows])).toEqual([
        ['Leads', 3, 3, 600],
        ['Deals', 1, 1, 50],
        ['Products', 1, 1, 50],
      ]);
      expect(await whenQuiet(lockstep)).toMatchObject(inStep);
    });
  });
});

describe('notifications', () => {
  test('duplicated and reordered ones change nothing', async () => {
    await withLockstep({ simulator: small }, async (lockstep) => {
      await waitUntilLoaded(lockstep);
      const admin = `${lockstep.simulator?.url}/__simulator`;
      await fetchJson(`${admin}/faults`, { method: 'POST', body: { double: 1, reorder: 0.5, holdBackMs: 500 } });
      await fetchJson(`${admin}/traffic`, { method: 'POST', body: { editsPerSecond: 200, createsPerSecond: 20, deletesPerSecond: 10, seed: 5 } });
      await waitUntil('some traffic', async () => ((await fetchJson<{ totals: { edits: number } }>(`${admin}/traffic`)).totals.edits >= 400 ? true : null));
      await fetchJson(`${admin}/traffic`, { method: 'DELETE' });
      expect(await whenQuiet(lockstep)).toMatchObject(inStep);
    });
  });
});
