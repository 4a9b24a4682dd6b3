import { type ApiVersion, boundedDeletion, type BulkReadJob, type BulkReadRequest, type CrmClient, CrmClock, CrmError, type FoundRecord, type IdRange, type ListedChannel, momentOf, type Observed, observedBetween, type RecordPage, versionRules } from '@lockstep/crm-client';
import type { LiveRecord, Random } from '@lockstep/crm-simulator';
import type { BulkResults } from '@lockstep/crm-reader';
import type { ModuleDefinition } from '@lockstep/modules';
import type { Time } from '@lockstep/telemetry';

import type { Fault } from './faults.ts';
import { Refusals } from './refusals.ts';
import { VirtualJobs } from './virtual-jobs.ts';
import { type EditManner, VirtualRecords } from './virtual-records.ts';
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
  /** An enabled channel that gets one hour, whatever was requested. */
  readonly shortExpiry: number;
  /** A notification that is never sent, is sent twice, or late. */
  readonly drop: number;
  readonly double: number;
  readonly delayed: number;
  /** A reply whose `Date` is an hour off, or of 2099. */
  readonly wrongDate: number;
  /** How far the `Date` of every reply is ahead of the CRM's own clock. */
  readonly dateAheadMs: number;
};

export const noFaults: CrmFaults = { error: 0, stale: 0, staleMs: 0, lagMs: 0, lateMs: 0, slow: 0, jobFailure: 0, shortExpiry: 0, drop: 0, double: 0, delayed: 0, wrongDate: 0, dateAheadMs: 0 };

type Fields = Readonly<Record<string, unknown>>;

const WRONG_DATES_MS = [3_600_000, -3_600_000, 72 * 365 * 86_400_000];

/** How a process is connected with the CRM: by its host's clocks, and what it has learned of the CRM's. */
type Link = { readonly host: Time; readonly clock: CrmClock };

/** The CRM as one process sees it. */
export type Connection = { readonly client: CrmClient; readonly results: BulkResults };

/** What a channel notifies its receiver of. */
export type Notified = { readonly module: string; readonly ids: readonly string[]; readonly operation: 'insert' | 'update' | 'delete' };


export type VirtualCrmOptions = {
  readonly time: VirtualTime;
  /** The CRM's own clock; true time by default. */
  readonly clock?: Pick<Time, 'now'>;
  readonly random: Random;
  readonly seed: number;
  readonly modules: readonly ModuleDefinition[];
  /** Records of each module at the beginning. */
  readonly records: number;
  /** Rows of a page of a bulk read. */
  readonly pageSize: number;
  /** How far the clocks of the CRM's hosts are from its true time, at most; each is steady. */
  readonly skewMs: number;
  /** How pages after the first are requested. */
  readonly version: ApiVersion;
};

const PAGE = 20;
const HOUR_MS = 3_600_000;
/** What a call costs that is no single one: a bulk job, and its result, which costs nothing more. */
const JOB_CREDITS = 50;
const DOWNLOAD_CREDITS = 0;

export class VirtualCrm {
  readonly records: VirtualRecords;
  readonly #jobs: VirtualJobs;
  readonly #time: VirtualTime;
  readonly #clock: Pick<Time, 'now'>;
  readonly #version: ApiVersion;
  readonly #random: Random;
  readonly #modules: ReadonlyMap<string, ModuleDefinition>;
  readonly #channels = new Map<string, { readonly module: string; readonly notifyUrl: string; readonly token: string; readonly expiresMs: number }>();
  readonly #apiSkewMs: number;
  #faults: CrmFaults = noFaults;
  /** Receives what channels notify of, at that moment. */
  onNotified: (notified: Notified) => void = () => undefined;
  /** Receives every fault at the moment it strikes. */
  onFault: (fault: Fault) => void = () => undefined;
  /** What the CRM refuses until it is lifted. */
  readonly refusals = new Refusals((fault) => this.onFault(fault));
  readonly counts = { calls: 0, credits: 0, failed: 0, notified: 0, dropped: 0 };

  constructor({ time, clock = time, random, seed, modules, records, pageSize, skewMs, version }: VirtualCrmOptions) {
    this.#time = time;
    this.#clock = clock;
    this.#version = version;
    this.#random = random;
    this.#modules = new Map(modules.map((module) => [module.apiName, module]));
    const stampSkewMs = Math.round((random.next() * 2 - 1) * skewMs);
    this.#apiSkewMs = Math.round((random.next() * 2 - 1) * skewMs);
    this.records = new VirtualRecords({ time, clock, seed, modules, records, stampSkewMs });
    this.#jobs = new VirtualJobs({ time, random, records: this.records, modules: this.#modules, pageSize });
  }

  get faults(): CrmFaults {
    return this.#faults;
  }

  setFaults(faults: CrmFaults): void {
    this.#faults = faults;
  }

  edit(module: string, ids: readonly string[], fields: Fields, { isNotified = true, isLate = false, ...manner }: Omit<EditManner, 'lateMs'> & { isNotified?: boolean; isLate?: boolean } = {}): void {
    if (isLate && this.#faults.lateMs > 0) this.onFault('read-late');
    this.records.edit(module, ids, fields, { ...manner, lateMs: isLate ? this.#faults.lateMs : 0 });
    if (isNotified && manner.keepsTime !== true) this.#notify({ module, ids, operation: 'update' });
  }

  create(module: string, fields: Fields, isNotified = true): string {
    const id = this.records.create(module, fields);
    if (isNotified) this.#notify({ module, ids: [id], operation: 'insert' });
    return id;
  }

  delete(module: string, id: string, isNotified = true): void {
    this.records.delete(module, id);
    if (isNotified) this.#notify({ module, ids: [id], operation: 'delete' });
  }

  restore(module: string, id: string, isNotified: boolean): void {
    this.records.restore(module, id);
    if (isNotified) this.#notify({ module, ids: [id], operation: 'update' });
  }

  /** Merges a record into another one: it is deleted, and what pointed to it points to the other. @returns those, by module. */
  merge(module: string, loser: string, master: string, movesReferrers: boolean): ReadonlyMap<string, readonly string[]> {
    const pointing = this.records.merge(module, loser, master, movesReferrers);
    this.#notify({ module, ids: [loser], operation: 'delete' });
    this.#notify({ module, ids: [master], operation: 'update' });
    return pointing;
  }

  /** Ends a channel without a word, as the CRM may. */
  loseChannel(module: string): void {
    this.onFault('channel-lost');
    for (const [id, channel] of this.#channels) if (channel.module === module) this.#channels.delete(id);
  }

  /** Whether a change would be notified now. */
  isListening(module: string): boolean {
    return [...this.#channels.values()].some((channel) => channel.module === module && channel.expiresMs > this.#clock.now());
  }

  /** The CRM as a process sees it that begins now, on this host, beside this database. */
  connect(host: Time = this.#time, database: Pick<Time, 'now'> = host): Connection {
    const aheadMs = database.now() - host.elapsed();
    const link = { host, clock: new CrmClock({ low: aheadMs, high: aheadMs }) };
    return { client: this.#clientOf(link), results: this.#resultsOf(link) };
  }

  /** Results of bulk jobs, as the reader takes them in. */
  #resultsOf(link: Link): BulkResults {
    return {
      open: async (jobId) => {
        const { value, observed } = await this.#call(link, () => {
          this.refusals.download(this.#jobs.moduleOf(jobId));
          return this.#jobs.rows(jobId);
        }, DOWNLOAD_CREDITS);
        return {
          observed,
          close: async () => undefined,
          rows: async function* rows() {
            for (let at = 0; at < value.length; at += 7) yield value.slice(at, at + 7);
          },
        };
      },
    };
  }

  #clientOf(link: Link): CrmClient {
    const { clock, host } = link;
    return {
      rules: versionRules[this.#version],
      time: () => clock.time(momentOf(host)),
      clock: () => clock.report(momentOf(host)),
      enableNotifications: ({ channelId, module, notifyUrl, token, expiresAt }) =>
        this.#call(link, () => {
          this.refusals.channel(module);
          const longestMs = this.#clock.now() + 7 * 24 * HOUR_MS;
          const isShort = expiresAt.getTime() > longestMs || this.#random.next() < this.#faults.shortExpiry;
          if (isShort) this.onFault('channel-shortened');
          const expiresMs = isShort ? this.#clock.now() + HOUR_MS : expiresAt.getTime();
          this.#channels.set(channelId, { module, notifyUrl, token, expiresMs });
          return { channelId, module, notifyUrl, expiresAt: new Date(expiresMs) };
        }).then(({ value }) => value),
      listChannels: () => this.#call(link, () => this.#listed()).then(({ value }) => value),
      disableNotifications: (ids) => this.#call(link, () => this.#disable(ids)).then(() => undefined),
      createBulkRead: (request) => this.#call(link, () => this.#createJob(request), JOB_CREDITS).then(({ value: { jobId, createdTime }, observed }) => ({ jobId, createdTime: new Date(Math.min(createdTime.getTime(), observed.upperMs)) })),
      bulkReadStatus: (jobId) => this.#call(link, () => this.#jobs.status(jobId)).then(({ value }) => value),
      downloadBulkRead: () => Promise.reject(new Error('results are opened, not downloaded')),
      lookAt: async ({ module, fields, ids }) => {
        const { value, observed } = await this.#call(link, (atMs) => {
          this.refusals.query(module, fields);
          this.refusals.look(module, ids);
          return ids.flatMap((id) => this.#found(module, this.records.at(module, id, atMs))).map((record) => this.refusals.shown(module, record));
        });
        return { records: value, observed };
      },
      changedSince: async ({ module, fields, since, after }) => {
        const { value, observed } = await this.#call(link, (atMs) => {
          this.refusals.query(module, fields);
          this.refusals.window(module);
          return this.#window(module, since.getTime(), after, atMs);
        });
        return { ...value, observed };
      },
      recordsBetween: async (range) => {
        const { value, observed } = await this.#call(link, (atMs) => {
          this.refusals.query(range.module, range.fields);
          return this.#range(range, atMs);
        });
        return { ...value, observed };
      },
      deletedSince: async (module, since) => {
        const { value, observed } = await this.#call(link, (atMs) => this.refusals.list(module, this.records.listedDeletions(module, since.getTime(), atMs), { sinceMs: since.getTime(), nowMs: this.#clock.now() }));
        return { deletions: value.map((deletion) => boundedDeletion(deletion, clock.time(momentOf(host)))), observed };
      },
      countRecords: (module) => this.#call(link, () => this.records.visibleCount(module)).then(({ value }) => value),
      edition: () => this.#call(link, () => ({ edition: 'enterprise', users: 10 })).then(({ value }) => value),
      fieldsOf: () => this.#call(link, () => []).then(({ value }) => value),
      fullTexts: () => this.#call(link, () => []).then(({ value }) => value),
      readRecord: () => this.#call(link, () => null).then(({ value }) => value),
      updateRecord: () => Promise.reject(new Error('Lockstep never writes to the CRM')),
      close: () => Promise.resolve(),
    };
  }

  /** One call: it takes its time before and after the CRM's work, and may fail on either side of it. */
  async #call<T>({ host, clock }: Link, work: (asOfMs: number) => T, credits = 1): Promise<{ value: T; observed: Observed }> {
    const { error, stale, staleMs, lagMs, slow } = this.#faults;
    this.counts.calls += 1;
    this.counts.credits += credits;
    const sent = momentOf(host);
    await this.#time.sleep(5 + this.#random.below(200) + this.#struck('call-slow', slow, () => 30_000));
    if (this.#random.next() < error) this.#fail();
    const value = work(this.#time.now() - lagMs - this.#struck('read-stale', stale, () => this.#random.below(staleMs)));
    const date = new Date(this.#clock.now() + this.#apiSkewMs + this.#wrongDateMs()).toUTCString();
    await this.#time.sleep(5 + this.#random.below(200));
    if (this.#random.next() < error) this.#fail();
    const ended = momentOf(host);
    return { value, observed: observedBetween(sent, ended, clock.learn(sent, ended, date)) };
  }

  #wrongDateMs(): number {
    const { wrongDate, dateAheadMs } = this.#faults;
    if (wrongDate === 0 || this.#random.next() >= wrongDate) return dateAheadMs;
    this.onFault('date-wrong');
    return WRONG_DATES_MS[this.#random.below(WRONG_DATES_MS.length)] ?? 0;
  }

  /** So many milliseconds when the fault strikes, else none. */
  #struck(fault: Fault, probability: number, ms: () => number): number {
    if (this.#random.next() >= probability) return 0;
    this.onFault(fault);
    return ms();
  }

  #fail(): never {
    this.counts.failed += 1;
    this.onFault('call-failed');
    const code = (['CRM_UNREACHABLE', 'CRM_UNAVAILABLE', 'CRM_RATE_LIMITED'] as const)[this.#random.below(3)] ?? 'CRM_UNREACHABLE';
    throw new CrmError('a simulated failure', code);
  }

  #found(module: string, record: LiveRecord | undefined): FoundRecord[] {
    if (record === undefined) return [];
    const fields = this.#modules.get(module)?.fields ?? [];
    return [{ id: record.id, modifiedTime: new Date(record.modifiedMs).toISOString(), values: Object.fromEntries(fields.map(({ field }) => [field, record.value(field)])) }];
  }

  #window(module: string, sinceMs: number, after: { readonly modifiedTime: string; readonly id: string } | null, atMs: number): Pick<RecordPage, 'records' | 'hasMore'> {
    const afterMs = after === null ? sinceMs : Date.parse(after.modifiedTime);
    const fits = ({ modifiedMs, id }: LiveRecord): boolean => modifiedMs >= afterMs && (after === null || modifiedMs > afterMs || id > after.id);
    const found = [...this.records.allAt(module, atMs)].filter(fits).toSorted((a, b) => a.modifiedMs - b.modifiedMs || (a.id < b.id ? -1 : 1));
    return { records: found.slice(0, PAGE).flatMap((record) => this.#found(module, record)), hasMore: found.length > PAGE };
  }

  #range({ module, afterId, beforeId, since }: IdRange, atMs: number): Pick<RecordPage, 'records' | 'hasMore'> {
    const fits = ({ id, modifiedMs }: LiveRecord): boolean => id > afterId && (beforeId === null || id < beforeId) && (since === null || modifiedMs >= since.getTime());
    const found = [...this.records.allAt(module, atMs)].filter(fits).toSorted((a, b) => (a.id < b.id ? -1 : 1));
    return { records: found.slice(0, PAGE).flatMap((record) => this.#found(module, record)), hasMore: found.length > PAGE };
  }

  #disable(ids: readonly string[]): void {
    for (const id of ids) this.#channels.delete(id);
  }

  #listed(): ListedChannel[] {
    const now = this.#clock.now();
    return [...this.#channels].flatMap(([channelId, { expiresMs, ...channel }]) => (expiresMs > now ? [{ channelId, ...channel, events: null, expiresAt: new Date(expiresMs) }] : []));
  }

  #createJob({ module, fields, page, pageToken, since = null }: BulkReadRequest): BulkReadJob {
    this.refusals.job(module, fields);
    const willFail = this.#random.next() < this.#faults.jobFailure;
    if (willFail) this.onFault('job-failed');
    const jobId = this.#jobs.create({ module, fields, page, pageToken, since, willFail });
    this.refusals.jobAnswer(module);
    return { jobId, createdTime: new Date(Math.floor((this.#clock.now() + this.#apiSkewMs) / 1000) * 1000) };
  }

  #notify(notified: Notified): void {
    const { drop, double, delayed } = this.#faults;
    if (!this.isListening(notified.module) || this.#random.next() < drop) {
      this.counts.dropped += 1;
      this.onFault('notification-dropped');
      return;
    }
    const send = (): void => {
      const waitMs = 100 + this.#random.below(3_000) + this.#struck('notification-delayed', delayed, () => this.#random.below(117_000));
      this.#time.after(waitMs, () => {
        this.counts.notified += 1;
        this.onNotified(notified);
      });
    };
    send();
    if (this.#random.next() < double) {
      this.onFault('notification-doubled');
      send();
    }
  }
}
