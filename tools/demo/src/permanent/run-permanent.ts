import { setTimeout as sleep } from 'node:timers/promises';

import { seededRandom } from '@lockstep/crm-simulator';
import { compareAll, type Comparison, fetchJson, LatencyProbe, type Latencies, type Lockstep, type Snapshot, statusOf, waitUntil, waitUntilLoaded, waitUntilQuiet } from '@lockstep/harness';

import { type Ground, type PermanentFault, permanentFaults } from './faults.ts';

export type PermanentOptions = {
  readonly seed: number;
  /** How long the faults stand. */
  readonly seconds: number;
  readonly editsPerSecond: number;
  readonly createsPerSecond: number;
  readonly deletesPerSecond: number;
  readonly before: Snapshot;
  readonly say: (line: string) => void;
};

type Incident = { readonly module: string; readonly kind: string; readonly details: string };
type Counters = { readonly byStatus: Readonly<Record<string, number>> };

/** What the faults cost, and what came of it. */
export type PermanentResult = Comparison & {
  readonly faults: readonly string[];
  /** Of the records that no fault touches, while the faults stood. */
  readonly others: Latencies;
  /** Calls to the CRM while the faults stood, those that it refused too. */
  readonly calls: number;
  readonly incidents: readonly Incident[];
  /** Still open when everything was equal. */
  readonly left: { readonly parked: number; readonly incidents: readonly Incident[] };
  /** From the lifting of the last fault until all is equal. */
  readonly healedSeconds: number;
};

const HEAL_WITHIN_MS = 300_000;
const modules = ['Leads', 'Deals', 'Products'];

/**
 * Ten faults that do not pass, side by side, once everything is in step: what they do not touch is to follow as ever; once they are lifted, all is
 * to become equal without a restart.
 */
export async function runPermanent(lockstep: Lockstep, { seed, seconds, before, say, editsPerSecond, createsPerSecond, deletesPerSecond }: PermanentOptions): Promise<PermanentResult> {
  const { simulator, databaseUrl } = lockstep;
  if (simulator === undefined) throw new Error('permanent faults need the simulator');
  const admin = `${simulator.url}/__simulator`;
  await waitUntilLoaded(lockstep, { timeoutMs: 300_000 });
  await waitUntilQuiet(lockstep);
  say('in step; the faults begin');
  const ground = await groundOf(lockstep, seed);
  const faults: PermanentFault[] = [];
  for (const plant of permanentFaults) {
    const fault = await plant(ground);
    say(`stands: ${fault.name}`);
    faults.push(fault);
  }
  const callsBefore = await callsOf(admin);
  const probe = await LatencyProbe.start({ simulatorUrl: simulator.url, databaseUrl, ignored: new Set(faults.flatMap(({ touched }) => touched)) });
  await fetchJson(`${admin}/traffic`, { method: 'POST', body: { editsPerSecond, createsPerSecond, deletesPerSecond, modules, seed } });
  await sleep(seconds * 1_000);
  await fetchJson(`${admin}/traffic`, { method: 'DELETE' });
  const others = await probe.stop();
  const calls = (await callsOf(admin)) - callsBefore;
  const incidents = await incidentsOf(lockstep);
  say(`${others.count} changes of other records followed, the slowest in ${others.maxMs} ms; lifting the faults`);
  for (const { lift } of faults) await lift();
  const liftedMs = performance.now();
  const comparison = await waitUntil(
    'everything to be equal again',
    async () => {
      const one = await compareAll(lockstep, undefined, { before });
      return one.mismatches === 0 || performance.now() - liftedMs > HEAL_WITHIN_MS - 20_000 ? one : null;
    },
    { timeoutMs: HEAL_WITHIN_MS, everyMs: 2_000 },
  );
  const healedSeconds = Math.round((performance.now() - liftedMs) / 1_000);
  const parked = (await statusOf(lockstep)).modules.reduce((sum, one) => sum + one.parked, 0);
  return { ...comparison, faults: faults.map(({ name }) => name), others, calls, incidents, healedSeconds, left: { parked, incidents: await incidentsOf(lockstep) } };
}

/** Records are drawn without repetition, those of the traffic's first edits too. */
async function groundOf(lockstep: Lockstep, seed: number): Promise<Ground> {
  const random = seededRandom(seed);
  const free = new Map<string, string[]>();
  for (const module of modules) free.set(module, await fetchJson<string[]>(`${lockstep.simulator?.url}/__simulator/ids/${module}?first=1000`));
  return {
    lockstep,
    random,
    pick: (module) => {
      const ids = free.get(module) ?? [];
      const [id] = ids.splice(random.below(ids.length), 1);
      if (id === undefined) throw new Error(`there are too few ${module}`);
      return id;
    },
  };
}

const incidentsOf = ({ urls }: Lockstep): Promise<Incident[]> => fetchJson<Incident[]>(`${urls.scheduler}/incidents`);
const callsOf = async (admin: string): Promise<number> => Object.values((await fetchJson<Counters>(`${admin}/counters`)).byStatus).reduce((sum, calls) => sum + calls, 0);
