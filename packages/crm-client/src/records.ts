import { z } from 'zod';

import { coqlName } from './coql-name.ts';
import type { CallPurpose } from './credits.ts';
import type { CrmTime, Observed } from './crm-clock.ts';
import { CrmError } from './errors.ts';
import { parseExact, parseReply } from './json.ts';
import { TOLERANCE_MS } from './offset-window.ts';
import { checkAdvance, type FoundRecord, readRows, type RefusedRow } from './read-rows.ts';
import type { Transport } from './transport.ts';

export type { FoundRecord } from './read-rows.ts';

/** What a look found, and the CRM times between which it looked. A record that is neither among them nor refused is not visible: no more. */
export type Look = { readonly records: readonly FoundRecord[]; readonly observed: Observed; /** Rows that cannot be read; none is left out. */ readonly refused?: readonly RefusedRow[] };

/** A page of records, in the order of the query. */
export type RecordPage = Look & { readonly hasMore: boolean };

/** Where a page ended: the last record of it, as the CRM wrote it. */
export type PageEnd = { readonly modifiedTime: string; readonly id: string };

/** Records between two ids, neither of them included. */
export type IdRange = { readonly module: string; readonly fields: readonly string[]; readonly afterId: string; readonly beforeId: string | null; readonly since: Date | null; readonly signal?: AbortSignal };

/** One entry of the list of deleted records. `isBounded`: the list named a time that had not come, and the time of the reading stands instead. */
export type DeletedRecord = { readonly id: string; readonly deletedTime: string; readonly isBounded?: true };

/** What the list of deleted records held, and the CRM times from the beginning of its first page to the end of its last. */
export type DeletedList = { readonly deletions: readonly DeletedRecord[]; readonly observed: Observed };

// Of the envelope alone: a row that cannot be read says nothing of the others.
const rows = z.object({ data: z.array(z.unknown()) });
const page = rows.extend({ info: z.object({ more_records: z.boolean() }) });
const deleted = z.object({
  // What is no text, the reader keeps aside as an entry that cannot be read.
  data: z.array(z.object({ id: z.string().catch(''), deleted_time: z.string().catch('') }).catch({ id: '', deleted_time: '' })),
  info: z.object({ more_records: z.boolean() }),
});
/** A number, as some replies have it, or its digits. Nothing else is one: `Number(null)` would be 0. */
const whole = z.union([z.number(), z.stringFormat('digits', /^\d{1,15}$/).transform(Number)]).pipe(z.number().int().nonnegative());
const count = z.object({ count: whole });
const written = z.object({ data: z.array(z.object({ code: z.string(), message: z.string().default('') })).min(1) });

/** The reader repeats and divides a look that fails by itself, and what waits with it waits meanwhile. */
const LOOK_RETRIES = 1;

/**
 * Looks at records by id, with one COQL query: converted leads are seen too.
 * @param ids as many as the version's `idsPerLook` at most.
 * @see CRM API reference, "Query API (COQL)"
 */
export async function lookAt(transport: Transport, base: string, { module, fields, ids, signal }: { module: string; fields: readonly string[]; ids: readonly string[]; signal?: AbortSignal }): Promise<Look> {
  const query = `select ${columnsOf(fields)} from ${coqlName(module)} where id in (${ids.map((id) => `'${id}'`).join(', ')}) limit ${ids.length}`;
  const { status, text, observed } = await transport.call({ method: 'POST', path: `${base}/coql`, body: { select_query: query }, purpose: 'look', module, maxRows: ids.length, mostRetries: LOOK_RETRIES, ...(signal === undefined ? {} : { signal }) });
  if (status === 204) return { records: [], observed };
  const { data } = parseExact(`POST ${base}/coql`, rows, text);
  return { observed, ...readRows(data) };
}

/** Most windows hold little, and a query is paid for by the rows it may return: 1 credit for 200, 3 for 2,000. */
const ROWS_OF_SMALL_QUERY = 200;
const ROWS_A_QUERY = 2_000;

/**
 * The records changed since a time, in pages, by keyset: many records may share one second, and offsets would skip or double rows
 * while the data changes. The first page has up to 200, the others up to 2,000.
 * @param since inclusive; cut to whole seconds, as the CRM compares them.
 * @param after the end of the page before this one; null for the first.
 * @see CRM API reference, "Query API (COQL)"
 */
export async function changedSince(transport: Transport, base: string, { module, fields, since, after, signal }: { module: string; fields: readonly string[]; since: Date; after: PageEnd | null; signal?: AbortSignal }): Promise<RecordPage> {
  const from = secondsOf(since);
  const window = after === null ? `Modified_Time >= '${from}'` : `(Modified_Time >= '${after.modifiedTime}' and (Modified_Time > '${after.modifiedTime}' or id > ${after.id}))`;
  const maxRows = after === null ? ROWS_OF_SMALL_QUERY : ROWS_A_QUERY;
  const query = `select ${columnsOf(fields)} from ${coqlName(module)} where ${window} order by Modified_Time asc, id asc limit ${maxRows}`;
  const found = await readPage(transport, base, query, { purpose: 'catch-up', module, maxRows, signal });
  checkAdvance(`what changed of ${module}`, found, (last) => after === null || isBehind(last, after));
  return found;
}

/**
 * The records with an id between two others, in pages, by keyset.
 * @param afterId exclusive, as is `beforeId`; null for no end.
 * @param since only what changed since then, inclusive; null for all.
 * @see CRM API reference, "Query API (COQL)"
 */
export async function recordsBetween(transport: Transport, base: string, { module, fields, afterId, beforeId, since, signal }: IdRange): Promise<RecordPage> {
  const bounds = [`id > ${afterId}`, ...(beforeId === null ? [] : [`id < ${beforeId}`]), ...(since === null ? [] : [`Modified_Time >= '${secondsOf(since)}'`])];
  const query = `select ${columnsOf(fields)} from ${coqlName(module)} where ${allOf(bounds)} order by id asc limit ${ROWS_OF_SMALL_QUERY}`;
  const found = await readPage(transport, base, query, { purpose: 'bulk-read', module, maxRows: ROWS_OF_SMALL_QUERY, signal });
  checkAdvance(`records of ${module} behind ${afterId}`, found, ({ id }) => isHigherId(id, afterId));
  return found;
}

/** COQL takes two conditions in one pair of parentheses; a third joins the pair. */
const allOf = (conditions: readonly string[]): string => conditions.reduce((all, one) => `(${all} and ${one})`);

async function readPage(transport: Transport, base: string, query: string, { purpose, module, maxRows, signal }: { purpose: 'catch-up' | 'bulk-read'; module: string; maxRows: number; signal: AbortSignal | undefined }): Promise<RecordPage> {
  const { status, text, observed } = await transport.call({ method: 'POST', path: `${base}/coql`, body: { select_query: query }, purpose, module, maxRows, ...(signal === undefined ? {} : { signal }) });
  if (status === 204) return { records: [], observed, hasMore: false };
  const { data, info } = parseExact(`POST ${base}/coql`, page, text);
  return { observed, ...readRows(data), hasMore: info.more_records };
}

const columnsOf = (fields: readonly string[]): string => ['id', 'Modified_Time', ...fields.filter((field) => field !== 'Modified_Time').map(coqlName)].join(', ');

const isHigherId = (id: string, than: string): boolean => /^\d+$/.test(id) && BigInt(id) > BigInt(than);

/** In the order of the query. */
function isBehind({ modifiedTime, id }: FoundRecord, after: PageEnd): boolean {
  const [ms, endMs] = [Date.parse(modifiedTime), Date.parse(after.modifiedTime)];
  return ms === endMs ? isHigherId(id, after.id) : ms > endMs;
}

const secondsOf = (at: Date): string => `${at.toISOString().slice(0, 19)}+00:00`;

/** Pages of the list of deleted records: a million entries, more than an organisation's days of credits would pay for. */
const MAX_DELETED_PAGES = 5_000;

/**
 * The records deleted since a time, however often they were deleted.
 * @param list `since` is inclusive; the CRM compares whole seconds, so pass an earlier one. `purpose`: `look` where a notification is answered.
 * @throws {CrmError} `CRM_REPLY_UNEXPECTED` also where the list does not end.
 * @see CRM API reference, "Get deleted records"
 */
export async function deletedSince(transport: Transport, base: string, { module, since, purpose = 'catch-up' }: { module: string; since: Date; purpose?: CallPurpose }): Promise<DeletedList> {
  const call = `GET ${base}/${module}/deleted`;
  const deletions: DeletedRecord[] = [];
  let span: Observed | undefined;
  let before = '';
  for (let page = 1; page <= MAX_DELETED_PAGES; page += 1) {
    const { status, text, observed } = await transport.call({
      method: 'GET',
      path: `${base}/${module}/deleted`,
      purpose,
      query: { type: 'all', page: String(page), per_page: '200' },
      headers: { 'if-modified-since': secondsOf(since) },
    });
    span = { lowerMs: span?.lowerMs ?? observed.lowerMs, upperMs: observed.upperMs };
    if (status === 204 || status === 304) return { deletions, observed: span };
    const { data, info } = parseReply(call, deleted, text);
    const time = transport.time();
    for (const { id, deleted_time: deletedTime } of data) deletions.push(boundedDeletion({ id, deletedTime }, time));
    if (!info.more_records) return { deletions, observed: span };
    const entries = data.map(({ id, deleted_time: time }) => `${id} ${time}`).join();
    if (entries === before) throw new CrmError(`${call}: page ${page} says that more follow, and holds ${data.length === 0 ? 'nothing' : 'the entries of the page before it'}: the list does not advance`, 'CRM_REPLY_UNEXPECTED');
    before = entries;
  }
  throw new CrmError(`${call}: more follow after ${MAX_DELETED_PAGES} pages: the list does not end`, 'CRM_REPLY_UNEXPECTED');
}

// `Date.parse` reads a time of this host's zone where there is no offset, and a year in any text that ends with one.
const withOffset = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)$/;

/**
 * A deletion as it may be believed: what is listed has happened, so one that bears a later time than the CRM ever had happened at the
 * latest when the list was read. What is no time stays as it is: the reader keeps it aside.
 */
export function boundedDeletion(deletion: DeletedRecord, { latestMs, stampedUpToMs }: Pick<CrmTime, 'latestMs' | 'stampedUpToMs'>): DeletedRecord {
  const isToCome = withOffset.test(deletion.deletedTime) && Date.parse(deletion.deletedTime) > stampedUpToMs + TOLERANCE_MS;
  if (!isToCome) return deletion;
  return { ...deletion, deletedTime: new Date(Math.floor(latestMs / 1000) * 1000).toISOString(), isBounded: true };
}

/** How many records the calling user can see. */
export async function countRecords(transport: Transport, base: string, module: string): Promise<number> {
  const { text } = await transport.call({ method: 'GET', path: `${base}/${module}/actions/count` });
  return parseReply(`GET ${base}/${module}/actions/count`, count, text).count;
}

/** Sets fields of a record; used by tools only: Lockstep itself never writes to the CRM. */
export async function updateRecord(transport: Transport, base: string, module: string, id: string, fields: Readonly<Record<string, unknown>>): Promise<void> {
  const { text } = await transport.call({ method: 'PUT', path: `${base}/${module}`, isRepeatable: false, body: { data: [{ id, ...fields }] } });
  const [result] = parseReply(`PUT ${base}/${module}`, written, text).data;
  if (result?.code !== 'SUCCESS') throw new CrmError(`${module} ${id} was not changed: ${result?.code} ${result?.message}`, 'CRM_REFUSED', { crmCode: result?.code ?? '' });
}
