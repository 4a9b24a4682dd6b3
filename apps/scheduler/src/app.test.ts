import type { Incident } from '@lockstep/postgres';
import { createMetrics } from '@lockstep/telemetry';
import { expect, test } from 'vitest';

import { buildApp } from './app.ts';

test('incidents are those that are open, or all of them', async () => {
  const at = new Date('2026-05-04T10:00:00Z');
  const open: Incident = { id: 2, module: 'Leads', kind: 'channel-lost', openedAt: at, lastSeenAt: at, closedAt: null, details: 'the CRM does not list the channel' };
  const closed: Incident = { ...open, id: 1, closedAt: at };
  const no = () => Promise.resolve(false);
  const app = buildApp({
    metrics: createMetrics({ app: 'test' }),
    readiness: {},
    status: () => Promise.resolve({ isLeader: true, hintsWaiting: 0, incidents: 0, modules: [], credits: { perDay: null, spent: { look: 0, 'catch-up': 0, 'bulk-read': 0, retry: 0, other: 0 }, left: null, reserve: null, catchUpIntervalMs: 120_000, lookEveryMs: 0, isCoarser: false, bucket: null } }),
    freshness: () => Promise.resolve([]),
    incidents: ({ all }) => Promise.resolve(all ? [open, closed] : [open]),
    refresh: () => Promise.resolve({ status: 'refused', problem: 'Leads is being read already' }),
    releaseDeletions: no,
  });
  const idsAt = async (url: string) => (await app.inject({ url })).json<{ id: number }[]>().map(({ id }) => id);
  expect([await idsAt('/incidents'), await idsAt('/incidents?all=true')]).toEqual([[2], [2, 1]]);
  await app.close();
});
