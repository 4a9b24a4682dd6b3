import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

import { compareAll, fetchJson, LatencyProbe, type Latencies, waitUntilLoaded, waitUntilQuiet } from '@lockstep/harness';
import { channelIdOf, channelToken, notifyPath } from '@lockstep/notifications';
import { Pool } from 'undici';

import { withLockstep } from './with-lockstep.ts';

/** The live path: notification to row at a rate of edits, and the acknowledgement of notifications at another. */
export type LiveRun = { readonly editsPerSecond: number; readonly notificationToRow: Latencies; readonly notificationsPerSecond: number; readonly acknowledgement: Percentiles; readonly mismatches: number };
export type Percentiles = { readonly count: number; readonly failed: number; readonly p50Ms: number; readonly p99Ms: number };

/** Both on one stack that holds 20,000 Leads; every value is compared afterwards. */
export async function runLive(folder: string, { editsPerSecond, notificationsPerSecond, seconds }: { editsPerSecond: number; notificationsPerSecond: number; seconds: number }): Promise<LiveRun> {
  const secret = randomBytes(24).toString('base64url');
  const simulator = ['--leads', '20000', '--deals', '2000', '--products', '2000'];
  return await withLockstep(folder, { simulator, env: { LOCKSTEP_SECRET: secret } }, async (lockstep) => {
    const admin = `${lockstep.simulator?.url}/__simulator`;
    await waitUntilLoaded(lockstep);
    await waitUntilQuiet(lockstep);
    const probe = await LatencyProbe.start({ simulatorUrl: lockstep.simulator?.url ?? '', databaseUrl: lockstep.databaseUrl });
    await fetchJson(`${admin}/traffic`, { method: 'POST', body: { editsPerSecond } });
    await sleep(seconds * 1000);
    await fetchJson(`${admin}/traffic`, { method: 'DELETE' });
    await waitUntilQuiet(lockstep);
    const notificationToRow = await probe.stop();
    const ids = await fetchJson<string[]>(`${admin}/ids/Leads?first=10000`);
    const acknowledgement = await post({ url: lockstep.urls.ingress, secret, ids, perSecond: notificationsPerSecond, seconds });
    await waitUntilQuiet(lockstep);
    const { mismatches } = await compareAll(lockstep);
    return { editsPerSecond, notificationToRow, notificationsPerSecond, acknowledgement, mismatches };
  });
}

/** Posts at a fixed rate, whether answers come or not: a slow answer does not slow the next question. */
async function post({ url, secret, ids, perSecond, seconds }: { url: string; secret: string; ids: readonly string[]; perSecond: number; seconds: number }): Promise<Percentiles> {
  const pool = new Pool(url, { connections: 50 });
  const channelId = channelIdOf(secret, 'Leads');
  const token = channelToken(secret, channelId);
  const path = notifyPath(secret);
  const took: number[] = [];
  let failed = 0;
  const one = async (id: string): Promise<void> => {
    const started = performance.now();
    const { statusCode, body } = await pool.request({ path, method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ server_time: Date.now(), query_params: {}, module: 'Leads', ids: [id], affected_fields: [], operation: 'update', channel_id: channelId, token }) });
    await body.dump();
    took.push(performance.now() - started);
    if (statusCode !== 200) failed += 1;
  };
  const started = performance.now();
  const sent: Promise<void>[] = [];
  for (let n = 0; n < perSecond * seconds; n += 1) {
    const waitMs = started + (n * 1000) / perSecond - performance.now();
    if (waitMs > 1) await sleep(waitMs);
    sent.push(one(ids[n % ids.length] as string));
  }
  await Promise.all(sent);
  await pool.close();
  const sorted = took.toSorted((a, b) => a - b);
  const at = (share: number): number => Math.round((sorted[Math.floor(sorted.length * share)] ?? 0) * 10) / 10;
  return { count: sorted.length, failed, p50Ms: at(0.5), p99Ms: at(0.99) };
}
