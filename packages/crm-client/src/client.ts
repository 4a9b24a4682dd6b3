import type { Time } from '@lockstep/telemetry';

import { bulkReadStatus, createBulkRead, downloadBulkRead, type BulkReadJob, type BulkReadRequest, type BulkReadStatus } from './bulk-reads.ts';
import type { CrmConfig } from './config.ts';
import type { CreditBudget } from './credit-budget.ts';
import type { CallPurpose } from './credits.ts';
import type { ClockReport, CrmTime, Observed } from './crm-clock.ts';
import { type FieldMeta, fieldsOf } from './fields.ts';
import { type FullTexts, fullTexts, type FullTextsRequest, readRecord } from './full-texts.ts';
import { disableNotifications, enableNotifications, type GrantedChannel, listChannels, type ListedChannel, type WantedChannel } from './notifications.ts';
import { changedSince, countRecords, type DeletedList, deletedSince, type FoundRecord, type IdRange, type Look, lookAt, type PageEnd, type RecordPage, recordsBetween, updateRecord } from './records.ts';
import { type Edition, editionOf } from './edition.ts';
import type { Bounds } from './offset-window.ts';
import type { TokenSource } from './tokens.ts';
import { type CallReport, Transport } from './transport.ts';
import { type VersionRules, versionRules } from './versions.ts';

/** The CRM, as far as Lockstep needs it. Every call throws `CrmError`. */
export type CrmClient = {
  readonly rules: VersionRules;
  /** What time it is in the CRM; costs no call. Before the first reply: the wall clock, a minute early. */
  time(): CrmTime;
  /** Which of the sources of that time contradicts the others, and by how much. */
  clock(): ClockReport;
  enableNotifications(wanted: WantedChannel): Promise<GrantedChannel>;
  listChannels(): Promise<ListedChannel[]>;
  disableNotifications(channelIds: readonly string[]): Promise<void>;
  createBulkRead(request: BulkReadRequest): Promise<BulkReadJob>;
  bulkReadStatus(jobId: string): Promise<BulkReadStatus>;
  downloadBulkRead(options: { jobId: string; file: string; signal?: AbortSignal }): Promise<Observed>;
  lookAt(options: { module: string; fields: readonly string[]; ids: readonly string[]; signal?: AbortSignal }): Promise<Look>;
  changedSince(options: { module: string; fields: readonly string[]; since: Date; after: PageEnd | null; signal?: AbortSignal }): Promise<RecordPage>;
  recordsBetween(range: IdRange): Promise<RecordPage>;
  /** @param purpose `look` where a notification is answered; `catch-up` by default. */
  deletedSince(module: string, since: Date, purpose?: CallPurpose): Promise<DeletedList>;
  countRecords(module: string): Promise<number>;
  /** What the organisation pays for. */
  edition(): Promise<Edition>;
  fieldsOf(module: string): Promise<FieldMeta[]>;
  fullTexts(request: FullTextsRequest): Promise<FullTexts[]>;
  readRecord(options: { module: string; id: string; fields: readonly string[]; signal?: AbortSignal }): Promise<FoundRecord | null>;
  updateRecord(module: string, id: string, fields: Readonly<Record<string, unknown>>): Promise<void>;
  close(): Promise<void>;
};

export type CrmClientOptions = {
  readonly config: CrmConfig;
  readonly tokens: TokenSource;
  /** Called after every attempt; for metrics and the count of credits. */
  readonly onCall?: (report: CallReport) => void;
  /** Pays each call before it is sent; without it they are free. */
  readonly budget?: Pick<CreditBudget, 'pay' | 'learn'>;
  /** Further attempts of a repeatable call after a retryable failure. */
  readonly retries?: number;
  /** Aborted when the process stops: calls that wait for their turn are given up. */
  readonly stopping?: AbortSignal;
  readonly time?: Time;
  /** How far the database's clock is ahead of our monotonic one, milliseconds: it has to agree before the first `Date` is believed. */
  readonly witness?: Bounds | undefined;
};

/** A client of one organisation, in the API version of the configuration. */
export function createCrmClient({ config, tokens, onCall = () => undefined, retries = 3, ...rest }: CrmClientOptions): CrmClient {
  const transport = new Transport({ config, tokens, onCall, retries, ...rest });
  const base = `/crm/${config.version}`;
  const bulk = `/crm/bulk/${config.version}`;
  const rules = versionRules[config.version];
  return {
    rules,
    time: () => transport.time(),
    clock: () => transport.clock(),
    enableNotifications: (wanted) => enableNotifications(transport, base, wanted),
    listChannels: () => listChannels(transport, base),
    disableNotifications: (channelIds) => disableNotifications(transport, base, channelIds),
    createBulkRead: (request) => createBulkRead(transport, bulk, request),
    bulkReadStatus: (jobId) => bulkReadStatus(transport, bulk, { jobId, nextPageBy: rules.nextPageBy }),
    downloadBulkRead: (options) => downloadBulkRead(transport, bulk, options),
    lookAt: (options) => lookAt(transport, base, options),
    changedSince: (options) => changedSince(transport, base, options),
    recordsBetween: (range) => recordsBetween(transport, base, range),
    deletedSince: (module, since, purpose = 'catch-up') => deletedSince(transport, base, { module, since, purpose }),
    edition: () => editionOf(transport, base),
    countRecords: (module) => countRecords(transport, base, module),
    fieldsOf: (module) => fieldsOf(transport, base, module),
    fullTexts: (request) => fullTexts(transport, base, rules.idsPerFullText, request),
    readRecord: (options) => readRecord(transport, base, options),
    updateRecord: (module, id, fields) => updateRecord(transport, base, module, id, fields),
    close: () => transport.close(),
  };
}
