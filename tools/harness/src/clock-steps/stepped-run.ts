import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import pg from 'pg';

import type { AppName } from '../app-process.ts';
import { compareAll, type Comparison } from '../compare-all.ts';
import { FreshnessWatch } from '../freshness/freshness-watch.ts';
import { fetchJson } from '../http.ts';
import type { Lockstep } from '../lockstep.ts';
import { waitUntilQuiet } from '../quiet.ts';
import { withLockstep } from '../testing.ts';
import { waitUntil } from '../wait-until.ts';
import { letDatabaseBeStepped, setDatabaseAhead } from './stepped-database.ts';

/** How far clocks are ahead of the true time, milliseconds; `date` is how far the `Date` of the CRM's replies is ahead of the CRM's clock. */
export type Ahead = Partial<Record<AppName | 'database' | 'crm' | 'date', number>>;

const modules = ['Leads', 'Deals', 'Products'];
const simulator = ['--leads', '600', '--deals', '50', '--products', '50', '--page-size', '200', '--downloads-per-minute', '0'];
const settings = { SCHEDULER_CATCH_UP_INTERVAL_MS: '1000', SCHEDULER_WATERMARK_MARGIN_MS: '1000', LOCKSTEP_EPSILON_MS: '1000' };
const steppedHost = pathToFileURL(join(import.meta.dirname, 'stepped-host.ts')).href;

/** Runs everything for the length of a test, as `withLockstep` does, with clocks that can be set. */
export async function withSteppedClocks(test: (run: SteppedRun) => Promise<void>): Promise<void> {
  const clockDir = await mkdtemp(join(tmpdir(), 'lockstep-clocks-'));
  try {
    const env = { ...settings, STEPPED_CLOCK_DIR: clockDir, NODE_OPTIONS: `--import ${steppedHost}` };
    await withLockstep({ simulator, env, beforeApps: ({ databaseUrl }) => letDatabaseBeStepped(databaseUrl) }, (lockstep) => test(new SteppedRun(lockstep, clockDir)));
  } finally {
    await rm(clockDir, { recursive: true, force: true });
  }
}

/** Where a process reports its own clock, the database's or the CRM's. A projector reports none: it needs no time but the database's. */
const reports: Partial<Record<string, string>> = {
  ingress: `role = 'reader' and wall_ahead_ms`,
  scheduler: `role = 'leader' and wall_ahead_ms`,
  database: `role = 'leader' and database_ahead_ms`,
  crm: `role = 'reader' and date_ahead_ms`,
  date: `role = 'reader' and date_ahead_ms`,
};
const TOLERANCE_MS = 60_000;

/** A running Lockstep whose clocks are set, and changes whose effects are waited for. Each change is made to a record that was not changed before. */
export class SteppedRun {
  readonly lockstep: Lockstep;
  readonly #clockDir: string;
  readonly #deletedAhead = new Set<string>();
  #crmAheadMs = 0;
  #ids: string[] = [];

  constructor(lockstep: Lockstep, clockDir: string) {
    this.lockstep = lockstep;
    this.#clockDir = clockDir;
  }

  watchFreshness(): FreshnessWatch {
    return new FreshnessWatch({ simulatorUrl: this.lockstep.simulator?.url ?? '', databaseUrl: this.lockstep.databaseUrl });
  }

  async set(ahead: Ahead): Promise<void> {
    for (const [name, aheadMs] of Object.entries(ahead)) {
      if (name === 'database') await setDatabaseAhead(this.lockstep.databaseUrl, aheadMs);
      else if (name === 'crm') await this.#stepCrm(aheadMs);
      else if (name === 'date') await this.#crm('faults', 'POST', { dateAheadMs: aheadMs });
      else await writeFile(join(this.#clockDir, name), String(aheadMs));
    }
  }

  /** Settles once the processes report the clocks that are wrong. */
  async isReported(ahead: Ahead): Promise<void> {
    const reported = Object.entries(ahead).filter(([name, aheadMs]) => reports[name] !== undefined && aheadMs !== 0);
    await Promise.all(reported.map(([name, aheadMs]) => this.row(`the report of the clock of ${name}`, `select from lockstep.clock where ${reports[name]} between ${aheadMs - TOLERANCE_MS} and ${aheadMs + TOLERANCE_MS}`)));
  }

  /** Begins to read all leads again. @returns what settles once they have been read. */
  async refresh(): Promise<() => Promise<void>> {
    await fetchJson(`${this.lockstep.urls.scheduler}/modules/Leads/refresh`, { method: 'POST' });
    const { id } = await this.row<{ id: string }>('the refresh to begin', `select id from lockstep.bulk_run where kind = 'refresh' order by id desc limit 1`);
    return async () => void (await this.row('the refresh', `select from lockstep.bulk_run where id = ${id} and state = 'complete'`));
  }

  /** An edit and a deletion, of which the CRM notifies, and an edit that only a catch-up finds. @returns what settles once all of it is in the table. */
  async change({ isDeletedNew = false } = {}): Promise<{ readonly notified: () => Promise<unknown>; readonly caughtUp: () => Promise<unknown> }> {
    const [edited, silent] = [await this.#nextId(), await this.#nextId()];
    const deleted = isDeletedNew ? await this.#create() : await this.#nextId();
    await this.#crm(`records/Leads/${edited}`, 'POST', { Company: `Edited ${edited}` });
    await this.#crm('mass-edit', 'POST', { module: 'Leads', ids: [silent], fields: { Company: `Edited ${silent}` }, silent: true });
    await this.#crm(`records/Leads/${deleted}`, 'DELETE');
    if (this.#crmAheadMs > 0) this.#deletedAhead.add(deleted);
    const isEdited = (id: string) => this.row(`the edit of ${id}`, `select from leads where id = ${id} and company = 'Edited ${id}'`);
    return {
      notified: () => Promise.all([isEdited(edited), this.row(`the deletion of ${deleted}`, `select from leads where id = ${deleted} and deleted_at is not null`)]),
      caughtUp: () => isEdited(silent),
    };
  }

  /** Settles once freshness claims what the CRM and all others call now. */
  async isFresh(): Promise<void> {
    const { nowMs } = await this.#crm<{ nowMs: number }>('clock');
    await this.row('freshness', `select from lockstep.freshness having count(*) = ${modules.length} and min(seen_up_to) > to_timestamp(${Math.min(nowMs, Date.now())} / 1000.0)`);
  }

  /**
   * Compares all values once nothing is on its way.
   * @returns what differs, but for deletions that the CRM dated to a time to come: those count as made when they were listed, until that time.
   */
  async differences(): Promise<Comparison['examples']> {
    await waitUntilQuiet(this.lockstep);
    const { examples } = await compareAll(this.lockstep, modules, { limit: 1_000 });
    return examples.filter(({ id, column }) => column !== 'deleted_at' || !this.#deletedAhead.has(id));
  }

  /** The first row that a query finds; asks until there is one. */
  async row<T extends object>(what: string, sql: string, timeoutMs = 60_000): Promise<T> {
    const client = new pg.Client({ connectionString: this.lockstep.databaseUrl });
    await client.connect();
    try {
      return await waitUntil(what, async () => (await client.query<T>(sql)).rows[0] ?? null, { timeoutMs, everyMs: 100 });
    } finally {
      await client.end();
    }
  }

  async #stepCrm(aheadMs: number): Promise<void> {
    await this.#crm('clock', 'POST', { stepMs: aheadMs - this.#crmAheadMs });
    this.#crmAheadMs = aheadMs;
  }

  async #create(): Promise<string> {
    const { id } = await this.#crm<{ id: string }>('records/Leads', 'POST', { Last_Name: 'New' });
    await this.row('the creation', `select from leads where id = ${id}`);
    return id;
  }

  async #nextId(): Promise<string> {
    if (this.#ids.length === 0) this.#ids = await this.#crm<string[]>('ids/Leads?first=100');
    return this.#ids.shift() ?? '';
  }

  #crm<T>(path: string, method?: 'POST' | 'DELETE', body?: object): Promise<T> {
    return fetchJson<T>(`${this.lockstep.simulator?.url}/__simulator/${path}`, method === undefined ? {} : { method, ...(body === undefined ? {} : { body }) });
  }
}
