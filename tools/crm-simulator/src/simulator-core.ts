import { BulkJobs } from './api/bulk-jobs.ts';
import { Channels } from './api/channels.ts';
import { Tokens } from './api/oauth.ts';
import type { ModuleSpec } from './catalogue/catalogue.ts';
import { ChangeLog } from './change-log.ts';
import type { Clock } from './clock.ts';
import { Counters } from './counters.ts';
import { Deliveries, type Faults } from './deliveries.ts';
import { AdminError } from './errors.ts';
import { type ApiFaults, FaultyApi } from './faults.ts';
import { instantFormat, utcText } from './instants.ts';
import { notifyChannels } from './notifier.ts';
import type { SimulatorOptions } from './options.ts';
import { slicer } from './query/slices.ts';
import { type Random, seededRandom } from './random.ts';
import { idOf, keyBase } from './record-ids.ts';
import { type TruthRecord, truthOf } from './render/truth.ts';
import { StandingFaults } from './standing-faults.ts';
import type { LiveRecord } from './store/live-record.ts';
import type { Deleted } from './store/module-store.ts';
import { type EditManner, Organisation } from './store/organisation.ts';
import { Traffic } from './traffic.ts';

type JsonFields = Readonly<Record<string, unknown>>;

const CHUNK = 65_536;
const everyKey = { from: -Infinity, to: Infinity };

/** The simulated CRM without its HTTP surface: all its parts, joined. */
export class SimulatorCore {
  readonly options: SimulatorOptions;
  readonly clock: Clock;
  readonly organisation: Organisation;
  readonly channels: Channels;
  readonly deliveries: Deliveries;
  readonly tokens: Tokens;
  readonly jobs: BulkJobs;
  readonly traffic: Traffic;
  readonly log = new ChangeLog();
  readonly calls: Counters;
  readonly faults: FaultyApi;
  readonly standing = new StandingFaults();
  readonly instant: (ms: number) => string;
  readonly #random: Random;

  constructor(options: SimulatorOptions, baseUrl: () => string) {
    const { clock, seed } = options;
    this.options = options;
    this.clock = clock;
    this.instant = instantFormat(options.utcOffset);
    this.#random = seededRandom(seed ^ 0x57a4);
    this.faults = new FaultyApi(seed);
    this.organisation = new Organisation(clock, seed, options.records, () => this.faults.faults.staleMs);
    this.channels = new Channels(clock);
    this.calls = new Counters(clock, options.credits);
    this.tokens = new Tokens(options);
    this.deliveries = new Deliveries({ clock, seed, delayMs: options.callbackDelayMs, concurrency: options.callbackConcurrency, timeoutMs: options.callbackTimeoutMs });
    this.jobs = new BulkJobs({
      clock,
      organisation: this.organisation,
      deliveries: this.deliveries,
      instant: this.instant,
      csv: { idHeader: options.csvIdHeader, multiSelectSeparator: options.csvMultiSelectSeparator, bom: options.csvBom, crlf: options.csvCrlf },
      pageSize: options.pageSize,
      delayMs: options.jobDelayMs,
      spoolDir: options.spoolDir,
    });
    this.traffic = new Traffic(this.organisation);
    const { channels, deliveries, log, instant } = this;
    const strangers = (module: ModuleSpec): readonly string[] => (deliveries.isNoisy() ? this.#strangers(module) : []);
    this.organisation.onChange((change) => notifyChannels({ channels, deliveries, log, instant, strangers, baseUrl }, change));
  }

  editRecord(module: string, id: string, fields: JsonFields): LiveRecord {
    return this.organisation.edit(module, [id], fields)[0] as LiveRecord;
  }

  createRecord(module: string, fields: JsonFields): LiveRecord {
    return this.organisation.create(module, fields);
  }

  massEdit(module: string, ids: readonly string[], fields: JsonFields, manner: EditManner = {}): LiveRecord[] {
    return this.organisation.edit(module, ids, fields, manner);
  }

  /** Ids of live records, the smallest first. */
  firstIds(module: string, count: number): string[] {
    const ids: string[] = [];
    for (const record of this.organisation.store(module).byKey(everyKey, false)) {
      if (ids.length >= count) break;
      ids.push(record.id);
    }
    return ids;
  }

  *truth(module: string): Generator<TruthRecord> {
    for (const record of this.organisation.store(module).byKey(everyKey, false)) yield truthOf(record);
  }

  /** The truth as NDJSON, in pieces; the event loop keeps turning. */
  async *truthLines(module: string): AsyncGenerator<string> {
    const pause = slicer(16);
    let chunk = '';
    for (const record of this.truth(module)) {
      chunk += `${JSON.stringify(record)}\n`;
      await pause();
      if (chunk.length < CHUNK) continue;
      yield chunk;
      chunk = '';
    }
    if (chunk !== '') yield chunk;
  }

  deletedView(deleted: Deleted) {
    return { id: idOf(deleted.key), deleted_time: utcText(deleted.deletedMs), type: deleted.type };
  }

  counters() {
    const records = Object.fromEntries(this.organisation.stores.map((store) => [store.module.apiName, store.liveCount]));
    return { ...this.calls.report(), tokens: { ...this.tokens.counts }, notifications: { ...this.deliveries.counts, outstanding: this.deliveries.outstanding }, mishaps: { ...this.faults.counts }, channels: this.channels.list().length, records };
  }

  /** Brings a deleted record back, with its old `Modified_Time`; notified to the channels as an update, or not at all. */
  restoreRecord(module: string, id: string, isSilent: boolean): LiveRecord {
    return this.organisation.restore(module, id, isSilent);
  }

  /** Takes a channel away, without a notice. @throws {AdminError} `UNKNOWN_CHANNEL` */
  loseChannel(id: string): void {
    if (!this.channels.remove(id)) throw new AdminError(404, 'UNKNOWN_CHANNEL', `no channel ${id}`);
  }

  /** Converts a lead: lists of records show it no more, queries and bulk reads do. @throws {AdminError} */
  convertLead(id: string): LiveRecord {
    return this.editRecord('Leads', id, { Converted__s: true });
  }

  mergeRecord(module: string, loserId: string, masterId: string, movesReferrers: boolean): Deleted {
    return this.organisation.merge(module, loserId, masterId, movesReferrers);
  }

  /** Hides records from every read, as a narrower sharing rule does, or shows them again. They are not deleted, and no notification is sent. */
  setHidden(module: string, ids: readonly string[], isHidden: boolean): void {
    for (const id of ids) this.organisation.store(module).setHidden(this.organisation.record(module, id), isHidden);
  }

  setFaults(faults: Partial<Faults & ApiFaults>): Faults & ApiFaults {
    const { drop, double, reorder, holdBackMs, noise, ...api } = faults;
    this.deliveries.setFaults(defined({ drop, double, reorder, holdBackMs, noise }));
    this.faults.set(api);
    return { ...this.deliveries.faults, ...this.faults.faults };
  }

  /** Two of a module's records, and an id that no record has. */
  #strangers({ apiName }: ModuleSpec): string[] {
    const store = this.organisation.store(apiName);
    const some = [0, 1].flatMap(() => store.at(this.#random.below(store.total))?.id ?? []);
    return [...some, idOf(this.#random.below(keyBase.modules))];
  }

  async close(): Promise<void> {
    this.traffic.stop();
    await this.deliveries.close();
    await this.jobs.close();
  }
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };
const defined = <T extends object>(object: T): Defined<T> => Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as Defined<T>;
