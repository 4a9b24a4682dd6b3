import { type Changed, type CrmClient, CrmError, type DeletedRecord, type FoundRecord, type ListedChannel, type Observed, versionRules } from '@lockstep/crm-client';
import { keyOf, type LiveRecord, Organisation, type Random } from '@lockstep/crm-simulator';
import type { BulkResults } from '@lockstep/crm-reader';
import type { ModuleDefinition } from '@lockstep/modules';

import type { VirtualTime } from './virtual-time.ts';

/*
 * The simulator's organisation as a client meets it, under virtual time: no HTTP, but the delays, the errors and the stale
 * replicas of one. Every version of every record is kept with the moment it came to be, so a read can show any moment.
 */

/** What may go wrong; probabilities from 0 to 1, milliseconds of CRM time. */
export type CrmFaults = {
  /** A call that fails before anything was done, or whose answer is cut. */
  readonly error: number;
  /** A read that shows what was true a while ago, and for how long at most. */
  readonly stale: number;
  readonly staleMs: number;
  /** How far behind every read is. */
  readonly lagMs: number;
  /** How late reads show changes that were made in bulk. */
  readonly lateMs: number;
  /** A call that takes half a minute. */
  readonly slow: number;
  /** A bulk job that fails, is forgotten, or whose result is damaged. */
  readonly jobFailure: number;
  /** An enabled channel that gets one hour, whatever was asked for. */
  readonly shortExpiry: number;
  /** A notification that is never sent, is sent twice, or late. */
  readonly drop: number;
  readonly double: number;
  readonly delayed: number;
};

export const noFaults: CrmFaults = { error: 0, stale: 0, staleMs: 0, lagMs: 0, lateMs: 0, slow: 0, jobFailure: 0, shortExpiry: 0, drop: 0, double: 0, delayed: 0 };

/** What a channel tells its receiver. */
export type Told = { readonly module: string; readonly ids: readonly string[]; readonly operation: 'insert' | 'update' | 'delete' };

/** A version of a record, or its absence, from the moment that reads show it. */
type Moment = { readonly fromMs: number; readonly record: LiveRecord | undefined };
type Deletion = { readonly id: string; readonly deletedMs: number; readonly atMs: number; restoredMs: number };
type Job = { readonly module: string; readonly sinceMs: number; readonly after: string; readonly createdMs: number; doneMs: number; result: { rows: string[][]; more: boolean } | undefined; isGone: boolean; willFail: boolean };

export type VirtualCrmOptions = {
  readonly time: VirtualTime;
  readonly random: Random;
  readonly seed: number;
  readonly modules: readonly ModuleDefinition[];
  /** Records of each module at the beginning. */
  readonly records: number;
  /** Rows of a page of a bulk read. */
  readonly pageSize: number;
  /** How far the clocks of the CRM's hosts are from its true time, at most; each is steady. */
  readonly skewMs: number;
};

const PAGE = 20;
const HOUR_MS = 3_600_000;

export class VirtualCrm {
  readonly organisation: Organisation;
  readonly #time: VirtualTime;
  readonly #random: Random;
  readonly #modules: ReadonlyMap<string, ModuleDefinition>;
  readonly #history = new Map<string, Moment[]>();
  readonly #deletions = new Map<string, Deletion[]>();
  readonly #jobs = new Map<string, Job>();
  readonly #channels = new Map<string, { readonly module: string; readonly notifyUrl: string; readonly token: string; readonly expiresMs: number }>();
  readonly #pageSize: number;
  readonly #apiSkewMs: number;
  #faults: CrmFaults = noFaults;
  /** Receives what channels tell, at the moment they tell it. */
  onTold: (told: Told) => void = () => undefined;
  readonly counts = { calls: 0, failed: 0, told: 0, dropped: 0 };

  constructor({ time, random, seed, modules, records, pageSize, skewMs }: VirtualCrmOptions) {
    this.#time = time;
    this.#random = random;
    this.#pageSize = pageSize;
    this.#modules = new Map(modules.map((module) => [module.apiName, module]));
    const stampSkewMs = Math.round((random.next() * 2 - 1) * skewMs);
    this.#apiSkewMs = Math.round((random.next() * 2 - 1) * skewMs);
    const stamp = { nowMs: () => time.now() + stampSkewMs, sleep: (ms: number) => time.sleep(ms) };
    this.organisation = new Organisation(stamp, seed, Object.fromEntries(modules.map(({ apiName }) => [apiName, records])));
  }

  get faults(): CrmFaults {
    return this.#faults;
  }

  setFaults(faults: CrmFaults): void {
    this.#faults = faults;
  }

  /** Ids of live records of a module, in order. */
  ids(module: string): string[] {
    return [...this.organisation.store(module).byKey({ from: -Infinity, to: Infinity }, false)].map(({ id }) => id);
  }

  /** What the CRM holds of a record now. */
  truth(module: string, id: string): LiveRecord | undefined {
    return this.#now(module, id);
  }

  /** The latest deletion of a record that was not taken back. */
  deletion(module: string, id: string): number | undefined {
    return this.#deletionsOf(module).findLast((deletion) => deletion.id === id && deletion.restoredMs === Number.POSITIVE_INFINITY)?.deletedMs;
  }

  edit(module: string, ids: readonly string[], fields: Readonly<Record<string, unknown>>, { isTold = true, isLate = false, keepsTime = false, modifiedMs }: { isTold?: boolean; isLate?: boolean; keepsTime?: boolean; modifiedMs?: number } = {}): void {
    const before = ids.map((id) => this.organisation.record(module, id));
    for (const record of this.organisation.edit(module, ids, fields, { isSilent: true, keepsTime, ...(modifiedMs === undefined ? {} : { modifiedMs }) })) this.#note(module, record.id, record, isLate, before.find(({ id }) => id === record.id));
    if (isTold && !keepsTime) this.#tell({ module, ids, operation: 'update' });
  }

  create(module: string, fields: Readonly<Record<string, unknown>>, isTold = true): string {
    const record = this.organisation.create(module, fields, true);
    this.#note(module, record.id, record, false, undefined);
    if (isTold) this.#tell({ module, ids: [record.id], operation: 'insert' });
    return record.id;
  }

  delete(module: string, id: string, isTold = true): void {
    const before = this.organisation.record(module, id);
    const { deletedMs } = this.organisation.delete(module, id);
    this.#note(module, id, undefined, false, before);
    this.#deletionsOf(module).push({ id, deletedMs, atMs: this.#time.now(), restoredMs: Number.POSITIVE_INFINITY });
    if (isTold) this.#tell({ module, ids: [id], operation: 'delete' });
  }

  restore(module: string, id: string, isTold: boolean): void {
    const record = this.organisation.restore(module, id, true);
    this.#note(module, id, record, false, undefined);
    const deletion = this.#deletionsOf(module).findLast((one) => one.id === id);
    if (deletion !== undefined) deletion.restoredMs = this.#time.now();
    if (isTold) this.#tell({ module, ids: [id], operation: 'update' });
  }

  /** Takes records from the token's user's sight, as a narrower sharing rule does, or gives them back; nobody is told. */
  setHidden(module: string, ids: readonly string[], isHidden: boolean): void {
    for (const id of ids) this.organisation.store(module).setHidden(this.organisation.record(module, id), isHidden);
  }

  /** Ends a channel without a word, as the CRM may. */
  loseChannel(module: string): void {
    for (const [id, channel] of this.#channels) if (channel.module === module) this.#channels.delete(id);
  }

  /** Whether a change would be told now. */
  isListening(module: string): boolean {
    return [...this.#channels.values()].some((channel) => channel.module === module && channel.expiresMs > this.#time.now());
  }

  /** The CRM as Lockstep's client shows it. */
  readonly client: CrmClient = {
    rules: versionRules.v8,
    enableNotifications: ({ channelId, module, notifyUrl, token, expiresAt }) =>
      this.#call(() => {
        const longestMs = this.#time.now() + 7 * 24 * HOUR_MS;
        const isShort = expiresAt.getTime() > longestMs || this.#random.next() < this.#faults.shortExpiry;
        const expiresMs = isShort ? this.#time.now() + HOUR_MS : expiresAt.getTime();
        this.#channels.set(channelId, { module, notifyUrl, token, expiresMs });
        return { channelId, module, notifyUrl, expiresAt: new Date(expiresMs) };
      }).then(({ value }) => value),
    listChannels: () => this.#call(() => this.#listed()).then(({ value }) => value),
    disableNotifications: (ids) => this.#call(() => this.#disable(ids)).then(() => undefined),
    createBulkRead: ({ module, pageToken, since }) => this.#call(() => this.#createJob(module, pageToken, since ?? null)).then(({ value }) => value),
    bulkReadStatus: (jobId) => this.#call(() => this.#jobStatus(jobId)).then(({ value }) => value),
    downloadBulkRead: () => Promise.reject(new Error('results are opened, not downloaded')),
    lookAt: async ({ module, ids }) => {
      const { value, observed } = await this.#call((atMs) => ids.flatMap((id) => this.#found(module, this.#at(module, id, atMs))));
      return { records: value, observed };
    },
    changedSince: async ({ module, since, after }) => {
      const { value, observed } = await this.#call((atMs) => this.#window(module, since.getTime(), after, atMs));
      return { ...value, observed };
    },
    deletedSince: (module, since) => this.#call((atMs) => this.#listedDeletions(module, since.getTime(), atMs)).then(({ value }) => value),
    countRecords: (module) => this.#call(() => this.organisation.store(module).visibleCount).then(({ value }) => value),
    updateRecord: () => Promise.reject(new Error('Lockstep never writes to the CRM')),
    close: () => Promise.resolve(),
  };

  /** Results of bulk jobs, as the reader takes them in. */
  readonly results: BulkResults = {
    open: async (jobId) => {
      const { value, observed } = await this.#call(() => {
        const job = this.#jobs.get(jobId);
        if (job?.result === undefined || job.isGone) throw new CrmError('the result is gone', 'CRM_NOT_FOUND');
        return job.result.rows;
      });
      return {
        observed,
        close: async () => undefined,
        rows: async function* rows() {
          for (let at = 0; at < value.length; at += 7) yield value.slice(at, at + 7);
        },
      };
    },
  };

  /** One call: it takes its time before and after the CRM's work, and may fail on either side of it. */
  async #call<T>(work: (asOfMs: number) => T): Promise<{ value: T; observed: Observed }> {
    const { error, stale, staleMs, lagMs, slow } = this.#faults;
    this.counts.calls += 1;
    const lowerMs = this.#time.now() + this.#apiSkewMs - 5;
    await this.#time.sleep(5 + this.#random.below(200) + (this.#random.next() < slow ? 30_000 : 0));
    if (this.#random.next() < error) this.#fail();
    const value = work(this.#time.now() - lagMs - (this.#random.next() < stale ? this.#random.below(staleMs) : 0));
    await this.#time.sleep(5 + this.#random.below(200));
    if (this.#random.next() < error) this.#fail();
    return { value, observed: { lowerMs, upperMs: this.#time.now() + this.#apiSkewMs + 5 } };
  }

  #fail(): never {
    this.counts.failed += 1;
    const code = (['CRM_UNREACHABLE', 'CRM_UNAVAILABLE', 'CRM_RATE_LIMITED'] as const)[this.#random.below(3)] ?? 'CRM_UNREACHABLE';
    throw new CrmError('a simulated failure', code);
  }

  #note(module: string, id: string, record: LiveRecord | undefined, isLate: boolean, before: LiveRecord | undefined): void {
    const moments = this.#history.get(`${module}/${id}`) ?? [{ fromMs: Number.NEGATIVE_INFINITY, record: before }];
    moments.push({ fromMs: this.#time.now() + (isLate ? this.#faults.lateMs : 0), record });
    this.#history.set(`${module}/${id}`, moments);
  }

  /** The record as it stood at a moment. */
  #at(module: string, id: string, atMs: number): LiveRecord | undefined {
    const moments = this.#history.get(`${module}/${id}`);
    // What was made later is never hidden by what shows late.
    const record = moments === undefined ? this.#now(module, id) : moments.findLast(({ fromMs }) => fromMs <= atMs)?.record;
    return record === undefined || this.organisation.store(module).isHidden(record.key) ? undefined : record;
  }

  #now(module: string, id: string): LiveRecord | undefined {
    return this.organisation.store(module).get(keyOf(id) ?? -1);
  }

  *#everAt(module: string, atMs: number): Generator<LiveRecord> {
    const store = this.organisation.store(module);
    const ids = new Set(this.ids(module));
    for (const key of this.#history.keys()) if (key.startsWith(`${module}/`)) ids.add(key.slice(module.length + 1));
    for (const id of ids) {
      const record = this.#at(store.module.apiName, id, atMs);
      if (record !== undefined) yield record;
    }
  }

  #found(module: string, record: LiveRecord | undefined): FoundRecord[] {
    if (record === undefined) return [];
    const fields = this.#modules.get(module)?.fields ?? [];
    return [{ id: record.id, modifiedTime: new Date(record.modifiedMs).toISOString(), values: Object.fromEntries(fields.map(({ field }) => [field, record.value(field)])) }];
  }

  #window(module: string, sinceMs: number, after: { readonly modifiedTime: string; readonly id: string } | null, atMs: number): Pick<Changed, 'records' | 'hasMore'> {
    const afterMs = after === null ? sinceMs : Date.parse(after.modifiedTime);
    const fits = ({ modifiedMs, id }: LiveRecord): boolean => modifiedMs >= afterMs && (after === null || modifiedMs > afterMs || id > after.id);
    const found = [...this.#everAt(module, atMs)].filter(fits).toSorted((a, b) => a.modifiedMs - b.modifiedMs || (a.id < b.id ? -1 : 1));
    return { records: found.slice(0, PAGE).flatMap((record) => this.#found(module, record)), hasMore: found.length > PAGE };
  }

  #deletionsOf(module: string): Deletion[] {
    const known = this.#deletions.get(module) ?? [];
    this.#deletions.set(module, known);
    return known;
  }

  #listedDeletions(module: string, sinceMs: number, atMs: number): DeletedRecord[] {
    const since = Math.floor(sinceMs / 1000) * 1000;
    return this.#deletionsOf(module)
      .filter((deletion) => deletion.deletedMs >= since && deletion.atMs <= atMs && deletion.restoredMs > atMs)
      .map(({ id, deletedMs }) => ({ id, deletedTime: new Date(deletedMs).toISOString() }));
  }

  #disable(ids: readonly string[]): void {
    for (const id of ids) this.#channels.delete(id);
  }

  #listed(): ListedChannel[] {
    const now = this.#time.now();
    return [...this.#channels].flatMap(([channelId, { expiresMs, ...channel }]) => (expiresMs > now ? [{ channelId, ...channel, events: null, expiresAt: new Date(expiresMs) }] : []));
  }

  #createJob(module: string, pageToken: string | null, since: Date | null): { jobId: string; createdTime: Date } {
    const before = pageToken === null || pageToken === '' ? undefined : this.#jobs.get(pageToken.split('/')[0] ?? '');
    if (pageToken !== null && pageToken !== '' && before === undefined) throw new CrmError('the token has expired', 'CRM_PAGE_TOKEN_EXPIRED');
    const jobId = String(this.#jobs.size + 1);
    const createdMs = Math.floor((this.#time.now() + this.#apiSkewMs) / 1000) * 1000;
    const job: Job = { module, sinceMs: before?.sinceMs ?? since?.getTime() ?? Number.NEGATIVE_INFINITY, after: pageToken?.split('/')[1] ?? '', createdMs, doneMs: this.#time.now() + 1_000 + this.#random.below(60_000), result: undefined, isGone: false, willFail: this.#random.next() < this.#faults.jobFailure };
    this.#jobs.set(jobId, job);
    this.#time.after(job.doneMs - this.#time.now(), () => this.#finish(jobId, job));
    return { jobId, createdTime: new Date(createdMs) };
  }

  /** A result is no snapshot: each row is read at a moment of its own while the job runs, and may be stale as any read. */
  #finish(jobId: string, job: Job): void {
    const startMs = job.createdMs - this.#apiSkewMs;
    const ids = [...new Set([...this.ids(job.module), ...this.#deletionsOf(job.module).map(({ id }) => id)])].filter((id) => id > job.after).toSorted();
    const fields = this.#modules.get(job.module)?.fields ?? [];
    const rows: string[][] = [['Id', ...fields.map(({ field }) => field), 'Modified_Time']];
    let more = false;
    for (const id of ids) {
      const record = this.#at(job.module, id, startMs + this.#random.below(Math.max(1, this.#time.now() - startMs)));
      if (record === undefined || record.modifiedMs < job.sinceMs) continue;
      if (rows.length > this.#pageSize) {
        more = true;
        break;
      }
      rows.push([id, ...fields.map(({ field }) => textOf(record.value(field))), new Date(record.modifiedMs).toISOString()]);
    }
    job.result = { rows, more };
    // A result lives one day.
    this.#time.after(24 * HOUR_MS, () => {
      job.isGone = true;
    });
  }

  #jobStatus(jobId: string): Awaited<ReturnType<CrmClient['bulkReadStatus']>> {
    const job = this.#jobs.get(jobId);
    if (job === undefined) throw new CrmError('no such job', 'CRM_NOT_FOUND');
    if (job.result === undefined) return { state: 'running' };
    if (job.willFail) return { state: 'failed', failure: 'a simulated failure' };
    const { rows, more } = job.result;
    return { state: 'completed', count: rows.length - 1, moreRecords: more, ...(more ? { nextPageToken: `${jobId}/${rows.at(-1)?.[0]}` } : {}) };
  }

  #tell(told: Told): void {
    const { drop, double, delayed } = this.#faults;
    if (!this.isListening(told.module) || this.#random.next() < drop) {
      this.counts.dropped += 1;
      return;
    }
    const send = (): void => {
      const waitMs = 100 + this.#random.below(this.#random.next() < delayed ? 120_000 : 3_000);
      this.#time.after(waitMs, () => {
        this.counts.told += 1;
        this.onTold(told);
      });
    };
    send();
    if (this.#random.next() < double) send();
  }
}

/** A cell of a CSV. The simulated fields are texts, numbers and booleans. */
const textOf = (value: unknown): string => (value === null || value === undefined ? '' : `${value as string | number | boolean}`);
