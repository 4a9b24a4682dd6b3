import { setTimeout as sleep } from 'node:timers/promises';

import { fetchJson, type FreshnessWatch, type Lockstep, statusOf, type StatusView, waitUntil, waitUntilCaughtUp, waitUntilClaimed, waitUntilLoaded, waitUntilQuiet, whileStopped } from '@lockstep/harness';

export const modules = ['Leads', 'Deals', 'Products'];

/** The field that is edited in many records at once. */
export const textField: Readonly<Record<string, string>> = { Leads: 'Company', Deals: 'Description', Products: 'Manufacturer' };

const EPSILON_MS = 5_000;
const STALLED_EDITS = 50;

/** What has to pass after a storm before the tables are to be equal: a stalled projector, two catch-ups, and each module read as a whole. */
export async function settle({ lockstep, watch, say }: { lockstep: Lockstep; watch: FreshnessWatch; say: (line: string) => void }): Promise<StatusView> {
  await waitUntilLoaded(lockstep, { timeoutMs: 300_000 });
  for (const module of modules) await releaseHeld(lockstep, module, say);
  // What was looked at within ε of its deletion is only distinguished by a later look.
  await sleep(EPSILON_MS);
  await stallProjector({ lockstep, watch, say });
  await waitUntilCaughtUp(lockstep, { modules, timeoutMs: 120_000 });
  await waitUntilCaughtUp(lockstep, { modules, timeoutMs: 120_000 });
  say('two catch-ups are complete; reading every module again');
  await Promise.all(modules.map((module) => refresh(lockstep, module)));
  await waitUntilCaughtUp(lockstep, { modules, timeoutMs: 120_000 });
  return await waitUntilQuiet(lockstep, { timeoutMs: 120_000 });
}

/**
 * The projector stands still while changes are read and the log's watermark passes them: only that shows that freshness waits for the projector, for
 * in a storm it is rarely behind for as long as the watermark's margin.
 */
async function stallProjector({ lockstep, watch, say }: { lockstep: Lockstep; watch: FreshnessWatch; say: (line: string) => void }): Promise<void> {
  await whileStopped(lockstep, 'projector', async () => {
    for (const module of modules) {
      const ids = await fetchJson<string[]>(`${lockstep.simulator?.url}/__simulator/ids/${module}?first=${STALLED_EDITS}`);
      await fetchJson(`${lockstep.simulator?.url}/__simulator/mass-edit`, { method: 'POST', body: { module, ids, fields: { [textField[module] as string]: 'While it stood still' } } });
    }
    await waitUntilClaimed(lockstep, { modules, timeoutMs: 120_000 });
    const samples = watch.samples;
    await waitUntil('freshness to be read meanwhile', async () => (watch.samples >= samples + 2 ? true : null), { timeoutMs: 120_000 });
    say(`the projector stood still until the log had all of ${STALLED_EDITS * modules.length} edits`);
  });
}

/** Deletions that were too many to be believed wait for a person: here it is one. */
async function releaseHeld(lockstep: Lockstep, module: string, say: (line: string) => void): Promise<void> {
  const held = (await statusOf(lockstep)).modules.find((one) => one.module === module)?.heldDeletions ?? null;
  if (held === null) return;
  say(`${held.deletions} deletions of ${module} were held, and are released`);
  await fetchJson(`${lockstep.urls.scheduler}/held-deletions/${module}/release`, { method: 'POST' });
}

async function refresh(lockstep: Lockstep, module: string): Promise<void> {
  const askedMs = Date.now();
  // Refused while another reading of the module is under way.
  await waitUntil(`the refresh of ${module} to begin`, () => fetchJson(`${lockstep.urls.scheduler}/modules/${module}/refresh`, { method: 'POST' }), { timeoutMs: 120_000, everyMs: 500 });
  await waitUntil(
    `the refresh of ${module}`,
    async () => {
      const run = (await statusOf(lockstep)).modules.find((one) => one.module === module)?.run;
      if (run?.kind !== 'refresh' || Date.parse(run.startedAt) < askedMs) return null;
      if (run.state === 'failed') throw new Error(`the refresh of ${module} failed`);
      return run.state === 'complete' ? true : null;
    },
    { timeoutMs: 120_000, everyMs: 200 },
  );
}
