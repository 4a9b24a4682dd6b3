import { defineEntity, type InferEntity, p } from '@mikro-orm/postgresql';

/** Why a module is read in bulk. `initial` is the first load; the others read what changed, or all of it again. */
export type RunKind = 'initial' | 'catch-up' | 'refresh';
export type RunState = 'running' | 'complete' | 'failed';

/**
 * A page's way: `wanted` (no job yet) → `requested` (the CRM has the job) → `ready` (the result may be downloaded) →
 * `published` (every row acknowledged by Kafka). A page that cannot be had goes back to `wanted`, or its run is `failed`.
 */
export type PageState = 'wanted' | 'requested' | 'ready' | 'published';

/** One bulk reading of a module: a chain of pages. */
export const BulkRun = defineEntity({
  name: 'BulkRun',
  schema: 'lockstep',
  tableName: 'bulk_run',
  properties: {
    id: p.integer().primary().autoincrement(),
    module: p.string(),
    kind: p.string().$type<RunKind>(),
    state: p.string().$type<RunState>(),
    startedAt: p.datetime(),
    finishedAt: p.datetime().nullable(),
    /** CRM time of the first job: what the catch-up after this run starts from. */
    firstJobCreatedAt: p.datetime().nullable(),
    /** Only what changed from here on (CRM time) is read; null for whole modules. */
    fromTime: p.datetime().nullable(),
    /** Records the CRM counted when the run began; null when it would not say. */
    expectedRows: p.integer().nullable(),
    failure: p.text().nullable(),
  },
});
export type BulkRunRow = InferEntity<typeof BulkRun>;

/** One bulk read job: up to 200,000 rows. */
export const BulkPage = defineEntity({
  name: 'BulkPage',
  schema: 'lockstep',
  tableName: 'bulk_page',
  properties: {
    id: p.integer().primary().autoincrement(),
    runId: p.integer(),
    module: p.string(),
    pageNumber: p.integer(),
    pageToken: p.text().nullable(),
    state: p.string().$type<PageState>(),
    jobId: p.string().nullable(),
    jobCreatedAt: p.datetime().nullable(),
    rowCount: p.integer().nullable(),
    moreRecords: p.boolean().nullable(),
    rowsPublished: p.integer(),
    /** The least and the greatest id among the rows that were published; null while there are none. */
    firstId: p.string().nullable(),
    lastId: p.string().nullable(),
    /** Jobs that were requested for it, each counted before its call. */
    attempts: p.integer(),
    /** Not before this is another job requested. */
    nextAttemptAt: p.datetime().nullable(),
    failure: p.text().nullable(),
    updatedAt: p.datetime(),
  },
});
export type BulkPageRow = InferEntity<typeof BulkPage>;

/** The subscription channel of a module, as the CRM granted it. */
export const Channel = defineEntity({
  name: 'Channel',
  schema: 'lockstep',
  tableName: 'channel',
  properties: {
    module: p.string().primary(),
    channelId: p.string(),
    requestedUntil: p.datetime(),
    grantedUntil: p.datetime(),
    renewAt: p.datetime(),
    enabledAt: p.datetime(),
    /** When the module's channel was enabled for the first time: no look at it is older. */
    openedAt: p.datetime(),
  },
});
export type ChannelRow = InferEntity<typeof Channel>;
