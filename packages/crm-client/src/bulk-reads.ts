import { z } from 'zod';

import type { Observed } from './crm-clock.ts';
import { CrmError } from './errors.ts';
import { parsed, parseReply } from './json.ts';
import type { Transport } from './transport.ts';
import type { VersionRules } from './versions.ts';

/** The page of a module that a job is to export. */
export type BulkReadRequest = {
  readonly module: string;
  /** API names, without the id. More than 200 would silently export every field. */
  readonly fields: readonly string[];
  /** From 1; how v6 names the pages after the first. */
  readonly page: number;
  /** How v7 and v8 name the pages after the first. */
  readonly pageToken: string | null;
  /** Only records with a `Modified_Time` from here on, cut to whole seconds; null exports them all. */
  readonly since?: Date | null;
  /** Called once when the job ends; it proves nothing, so it only means "poll now". */
  readonly callbackUrl: string | null;
};

/** A job that the CRM has taken. `createdTime` is never later than its reply. */
export type BulkReadJob = { readonly jobId: string; readonly createdTime: Date };

/** Where a job is. Any state this build does not know counts as running. */
export type BulkReadStatus =
  | { readonly state: 'running' }
  | { readonly state: 'completed'; readonly count: number; readonly moreRecords: boolean; readonly nextPageToken?: string }
  | { readonly state: 'failed'; readonly failure: string };

const MAX_FIELDS = 200;
const time = z.iso.datetime({ offset: true }).transform((text) => new Date(text));
// Digits: a number of more than 15 would have lost some of them already.
const jobId = z.union([z.stringFormat('digits', /^\d{1,19}$/), z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER).transform(String)]);
const created = z.object({ data: z.array(z.object({ details: z.object({ id: jobId, created_time: time }) })).min(1) });
const job = z.object({
  data: z
    .array(
      z.object({
        state: z.string(),
        // Before it has completed, a job's result is not promised, and is not read.
        result: z.looseObject({ error_message: z.looseObject({ code: z.string().optional(), message: z.string().optional() }).optional() }).nullish(),
      }),
    )
    .min(1),
});
const completed = z
  .object({ count: z.number().int().nonnegative(), more_records: z.boolean(), per_page: z.number().int().positive().optional(), next_page_token: z.string().min(1).nullish() })
  .refine(({ count, per_page: most = Number.POSITIVE_INFINITY }) => count <= most, { message: 'more than a page holds', path: ['count'] })
  .refine(({ count, more_records: hasMore }) => count > 0 || !hasMore, { message: 'an empty page that is not the last', path: ['count'] });

/**
 * Creates a job. Repeating it creates another one, so it is not retried by itself.
 * @throws {CrmError} `CRM_PAGE_TOKEN_EXPIRED`, `CRM_REFUSED`, and what any call throws.
 * @see CRM API reference, "Bulk read: create job"
 */
export async function createBulkRead(transport: Transport, base: string, { module, fields, page, pageToken, since = null, callbackUrl }: BulkReadRequest): Promise<BulkReadJob> {
  if (fields.length > MAX_FIELDS) throw new CrmError(`${fields.length} fields of ${module} are mapped; above ${MAX_FIELDS} the CRM exports all of them`, 'CRM_REFUSED');
  const criteria = since === null ? {} : { criteria: { field: { api_name: 'Modified_Time' }, comparator: 'greater_equal', value: `${since.toISOString().slice(0, 19)}+00:00` } };
  const query = pageToken === null ? { module: { api_name: module }, fields, ...criteria, page } : { page_token: pageToken };
  const { text, observed } = await transport.call({
    method: 'POST',
    path: `${base}/read`,
    purpose: 'bulk-read',
    module,
    isRepeatable: false,
    body: { ...(callbackUrl === null ? {} : { callback: { url: callbackUrl, method: 'post' } }), query, file_type: 'csv' },
  });
  const [{ details }] = parseReply(`POST ${base}/read`, created, text).data as [{ details: { id: string; created_time: Date } }];
  // It bounds what the file's rows are as old as, and what is claimed afterwards: the reply had come by then.
  return { jobId: details.id, createdTime: new Date(Math.min(details.created_time.getTime(), observed.upperMs)) };
}

/**
 * @param nextPageBy how the page after this one will be named: a page that is not the last has to say it.
 * @throws {CrmError} `CRM_NOT_FOUND` for a job the CRM no longer knows; `CRM_REPLY_UNEXPECTED` for one that has completed and does not say how many rows it has, or
 *   whether more follow: no default is safe, "0 rows, the last page" would end the run without a word.
 */
export async function bulkReadStatus(transport: Transport, base: string, { jobId: id, nextPageBy }: { jobId: string; nextPageBy: VersionRules['nextPageBy'] }): Promise<BulkReadStatus> {
  const { text } = await transport.call({ method: 'GET', path: `${base}/read/${id}`, purpose: 'bulk-read' });
  const call = `GET ${base}/read/{id}`;
  const [{ state, result }] = parseReply(call, job, text).data as [z.infer<typeof job>['data'][number]];
  if (state === 'FAILURE') return { state: 'failed', failure: result?.error_message?.message ?? result?.error_message?.code ?? 'no reason given' };
  if (state !== 'COMPLETED') return { state: 'running' };
  const { count, more_records: moreRecords, next_page_token: nextPageToken } = parsed(call, completed, result);
  if (moreRecords && nextPageBy === 'page_token' && typeof nextPageToken !== 'string') throw new CrmError(`${call}: more records follow, and no next_page_token names them`, 'CRM_REPLY_UNEXPECTED');
  return { state: 'completed', count, moreRecords, ...(typeof nextPageToken === 'string' ? { nextPageToken } : {}) };
}

/**
 * Downloads a job's ZIP into a file.
 * @returns the CRM times of the download.
 * @throws {CrmError} `CRM_NOT_FOUND` when the result is gone (it lives one day), `CRM_RATE_LIMITED` beyond ten downloads a minute.
 */
export const downloadBulkRead = (transport: Transport, base: string, { jobId, file, signal }: { jobId: string; file: string; signal?: AbortSignal }): Promise<Observed> =>
  transport.download({ method: 'GET', path: `${base}/read/${jobId}/result`, purpose: 'bulk-read', ...(signal === undefined ? {} : { signal }) }, file);
