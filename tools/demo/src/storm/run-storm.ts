import { setTimeout as sleep } from 'node:timers/promises';

import { appNames, appOf, compareAll, type Comparison, fetchJson, FreshnessWatch, type InstanceName, type Lockstep, type Snapshot, supervise, waitUntil, type Watched } from '@lockstep/harness';

import { type Act, calm, planStorm } from './plan.ts';
import { modules, settle, textField } from './settle.ts';

/** What is shorter in a storm than in production, so that freshness moves within a minute. */
export const stormEnvironment = { SCHEDULER_CATCH_UP_INTERVAL_MS: '2000', SCHEDULER_WATERMARK_MARGIN_MS: '8000', LOCKSTEP_EPSILON_MS: '5000' };

export type StormOptions = {
  readonly seed: number;
  readonly seconds: number;
  readonly editsPerSecond: number;
  readonly createsPerSecond: number;
  readonly deletesPerSecond: number;
  /** What stood in the database before the apps were started. */
  readonly before: Snapshot;
  /** Receives what happens, one line a time. */
  readonly say: (line: string) => void;
  /** Aborted when everything is to be ended: then nothing is started again. */
  readonly signal: AbortSignal;
};

/** What happened, and what came of it. */
export type StormResult = Comparison & {
  readonly changes: Readonly<Record<string, number>>;
  /** By process: killed by us, and ended by itself, which its supervisor is for. */
  readonly kills: Readonly<Record<string, number>>;
  readonly ends: Readonly<Record<string, number>>;
  readonly notifications: Readonly<Record<string, number>>;
  readonly mishaps: Readonly<Record<string, number>>;
  readonly freshness: Watched;
  readonly parked: number;
  /** From the end of the storm to the comparison. */
  readonly quietSeconds: number;
};

type Counters = { readonly notifications: Record<string, number>; readonly mishaps: Record<string, number> };

/**
 * A first load and traffic in a storm: faults of the CRM that come and go, and kill -9 of apps, broker and database, all made up
 * from the seed. Then it is calm; after a stall of the projector, two catch-ups and a reading of every module every column of every row is compared.
 */
export async function runStorm(lockstep: Lockstep, options: StormOptions): Promise<StormResult> {
  const { simulator, databaseUrl } = lockstep;
  if (simulator === undefined) throw new Error('a storm needs the simulator');
  const watch = new FreshnessWatch({ simulatorUrl: simulator.url, databaseUrl });
  const storm = new Storm({ lockstep, simulatorUrl: simulator.url, watch, ...options });
  const aborted = new Promise<never>((_, reject) => {
    options.signal.addEventListener('abort', () => reject(options.signal.reason as Error));
  });
  try {
    await Promise.race([storm.rage(options), aborted]);
    const calmedMs = performance.now();
    options.say('calm: faults off, traffic off');
    await Promise.race([storm.calm(), aborted]);
    const { modules: states } = await Promise.race([settle({ lockstep, watch, say: options.say }), aborted]);
    const freshness = await watch.stop();
    const comparison = await compareAll(lockstep, undefined, { before: options.before });
    const quietSeconds = Math.round((performance.now() - calmedMs) / 1000);
    const { notifications, mishaps } = await fetchJson<Counters>(`${simulator.url}/__simulator/counters`);
    return { ...comparison, ...storm.done, notifications, mishaps, freshness, parked: states.reduce((sum, { parked }) => sum + parked, 0), quietSeconds };
  } finally {
    await Promise.all([storm.end(), watch.stop()]);
  }
}

/** Everything that blows, and the count of it. */
class Storm {
  readonly #lockstep: Lockstep;
  readonly #admin: string;
  readonly #watch: FreshnessWatch;
  readonly #say: (line: string) => void;
  readonly #stopping = new AbortController();
  readonly #supervised: Promise<void>;
  readonly #crashes: Promise<void>[] = [];
  readonly done = { changes: {} as Record<string, number>, kills: {} as Record<string, number>, ends: {} as Record<string, number> };

  constructor({ lockstep, simulatorUrl, watch, say }: { lockstep: Lockstep; simulatorUrl: string; watch: FreshnessWatch } & Pick<StormOptions, 'say'>) {
    this.#lockstep = lockstep;
    this.#admin = `${simulatorUrl}/__simulator`;
    this.#watch = watch;
    this.#say = say;
    this.#supervised = supervise(lockstep, { signal: this.#stopping.signal, onEnded: (name, end) => this.#ended(name, end) });
  }

  async rage({ seed, seconds, editsPerSecond, createsPerSecond, deletesPerSecond }: StormOptions): Promise<void> {
    const steps = planStorm({ seed, seconds, modules });
    await this.#post('faults', calm);
    await this.#post('traffic', { editsPerSecond, createsPerSecond, deletesPerSecond, seed });
    const startedMs = performance.now();
    for (const step of steps) {
      await sleep(Math.max(0, startedMs + step.atMs - performance.now()));
      if (this.#stopping.signal.aborted) return;
      await this.#do(step);
    }
    await sleep(Math.max(0, startedMs + seconds * 1000 - performance.now()));
  }

  /** Ends what blows; returns once everything runs again. */
  async calm(): Promise<void> {
    await this.#post('faults', calm);
    const { totals } = await fetchJson<{ totals: Record<string, number> }>(`${this.#admin}/traffic`, { method: 'DELETE' });
    for (const [kind, count] of Object.entries(totals)) this.#count('changes', kind, count);
    await Promise.all(this.#crashes);
    for (const name of appNames) await waitUntil(`${name} to be ready`, () => fetchJson(`${this.#lockstep.urls[name]}/readyz`), { timeoutMs: 120_000 });
  }

  /** Returns once nothing is started again any more. May be repeated. */
  async end(): Promise<void> {
    this.#stopping.abort();
    await Promise.allSettled([this.#supervised, ...this.#crashes]);
  }

  async #do(act: Act): Promise<void> {
    switch (act.act) {
      case 'faults':
        return await this.#post('faults', act.faults);
      case 'kill':
        this.#say(`kill -9 ${act.app}`);
        return await this.#lockstep.apps[act.app]?.kill('SIGKILL');
      case 'crash':
        return this.#beginCrash(act);
      case 'mass-edit':
        return await this.#massEdit(act);
      case 'restore':
        return await this.#restore(act);
      case 'end-tokens':
        return void (await fetchJson(`${this.#admin}/tokens`, { method: 'DELETE' }));
    }
  }

  /** The storm goes on while a service is down. */
  #beginCrash(act: Extract<Act, { act: 'crash' }>): void {
    const crash = this.#crash(act);
    crash.catch(() => undefined); // The wait for all of them reports it.
    this.#crashes.push(crash);
  }

  async #crash({ service, downMs }: Extract<Act, { act: 'crash' }>): Promise<void> {
    const crashable = this.#lockstep.crashable[service];
    if (crashable === undefined) return this.#say(`${service} is not ours to crash`);
    this.#say(`kill -9 ${service}, for ${downMs} ms`);
    this.#count('kills', service);
    const isUp = service === 'postgres' ? this.#watch.databaseGoesDown() : () => undefined;
    await crashable.kill();
    await sleep(downMs);
    if (this.#stopping.signal.aborted) return;
    await crashable.restart();
    isUp();
  }

  async #massEdit({ module, share, count, manner }: Extract<Act, { act: 'mass-edit' }>): Promise<void> {
    const all = await fetchJson<string[]>(`${this.#admin}/ids/${module}?first=1000000`);
    const from = Math.floor(share * Math.max(0, all.length - count));
    const ids = all.slice(from, from + count);
    const fields = { [textField[module] as string]: `Stormy ${share}` };
    const edited = await this.#post<{ edited: number }>('mass-edit', { module, ids, fields, silent: manner === 'silent', keepsTime: manner === 'keeps-time' }).then((reply) => reply.edited, () => null);
    // Deleted meanwhile: then it is refused as a whole, and nothing has changed.
    if (edited === null) this.#count('changes', 'mass edits refused');
    else this.#count('changes', `mass-edited, ${manner}`, edited);
  }

  async #restore({ module, share, isSilent }: Extract<Act, { act: 'restore' }>): Promise<void> {
    const deleted = await fetchJson<{ id: string }[]>(`${this.#admin}/deleted/${module}`);
    const chosen = deleted[Math.floor(share * deleted.length)];
    if (chosen === undefined) return;
    await this.#post(`records/${module}/${chosen.id}/restore`, { silent: isSilent });
    this.#count('changes', isSilent ? 'restored, silent' : 'restored, notified');
  }

  async #post<T = void>(path: string, body: object): Promise<T> {
    return await fetchJson<T>(`${this.#admin}/${path}`, { method: 'POST', body });
  }

  #ended(name: InstanceName, end: number | NodeJS.Signals): void {
    if (end === 'SIGKILL') return this.#count('kills', appOf(name));
    this.#say(`${name} ended by itself (${end}) and is started again`);
    this.#count('ends', appOf(name));
  }

  #count(what: keyof Storm['done'], kind: string, by = 1): void {
    this.done[what][kind] = (this.done[what][kind] ?? 0) + by;
  }
}
