import { BulkFileError } from '@lockstep/bulk-file';
import { type CrmClient, CrmError } from '@lockstep/crm-client';
import type { ProducedMessage } from '@lockstep/kafka';
import { coverageOf, leads } from '@lockstep/modules';
import type { BulkPageRow, BulkRuns, PublishedRows } from '@lockstep/postgres';
import { multiSelectReader } from '@lockstep/record-log';
import { createLogger, createMetrics } from '@lockstep/telemetry';
import { beforeEach, describe, expect, test } from 'vitest';

import { createReaderMetrics } from '../metrics.ts';
import type { BulkResult } from './bulk-results.ts';
import { ingestReadyPages } from './ingest-pages.ts';
import { PageWaits } from './page-waits.ts';
import { asideInMemory } from '../testing.ts';

const { fields } = coverageOf(leads);
const header = ['Id', ...fields, 'Modified_Time'];
const row = (id: string): string[] => [id, ...fields.map(() => ''), '2026-05-04T10:00:00+05:30'];

let outcome: string[];
let sent: number;
let letters: number;
let time: { elapsedMs: number; elapsed: () => number; jitter: () => number };
let waits: PageWaits;
/** A record that no message of the log has room for. */
let tooLarge: string;
beforeEach(() => {
  [outcome, sent, letters] = [[], 0, 0];
  time = { elapsedMs: 0, elapsed: () => time.elapsedMs, jitter: () => 1 };
  waits = new PageWaits(time);
  tooLarge = '';
});

/** Takes a page of two rows, requested so many times, from what the CRM gives. */
async function take(open: (jobId: string) => Promise<BulkResult>, { attempts = 1, ...given }: Partial<BulkPageRow> = {}, { pages = [], others = [], crm = { recordsBetween: () => Promise.reject(new Error('nothing to ask')) } }: { pages?: Partial<BulkPageRow>[]; others?: BulkPageRow[]; crm?: Pick<CrmClient, 'recordsBetween'> } = {}): Promise<string[]> {
  const page = { id: 1, runId: 7, module: 'Leads', pageNumber: 1, state: 'ready', jobId: '4711', jobCreatedAt: new Date('2026-05-04T10:00:00Z'), rowCount: 2, moreRecords: false, attempts, ...given } as BulkPageRow;
  const runs = {
    openPages: async () => [page, ...others],
    pagesOf: async () => [...pages, page],
    runOf: async () => ({ kind: 'initial', fromTime: null }),
    progress: async () => undefined,
    published: async (_: BulkPageRow, { rows, ids }: PublishedRows) => void outcome.push(`published ${rows}${ids === null ? '' : `, ${ids.first} to ${ids.last}`}`),
    wantedAgain: async () => void outcome.push('wanted again'),
    failed: async () => void outcome.push('run failed'),
    refused: async (_: BulkPageRow, failure: string) => void outcome.push(`noted: ${failure}`),
  } as unknown as BulkRuns;
  const producer = {
    send: async (_: string, messages: Iterable<ProducedMessage>) => {
      const keys = [...messages].map(({ key }) => String(key));
      if (keys.includes(tooLarge)) throw Object.assign(new Error('too large'), { type: 'MESSAGE_TOO_LARGE' });
      sent += keys.length;
    },
  };
  await ingestReadyPages(
    {
      runs,
      crm,
      results: { open },
      producer,
      register: { known: async () => new Map() },
      epsilonMs: 60_000,
      deadLetters: { put: async (more) => void (letters += more.length) },
      aside: asideInMemory(),
      waits,
      facts: { of: () => ({ isKnown: true, richTexts: new Set(), textareas: new Set(), multiSelects: new Map([['Languages_Known', multiSelectReader(['English'])]]) }), contradicted: (module) => void outcome.push(`${module} contradicts`) },
      looks: { want: async (_, ids, reason) => void outcome.push(`${ids.join()} ${reason}`) },
      modules: [leads],
      metrics: createReaderMetrics(createMetrics({ app: 'test' })),
      log: createLogger({ app: 'test', level: 'silent', isPretty: false }),
    },
    new AbortController().signal,
  );
  return outcome;
}

const resultOf = (...rows: string[][]): Promise<BulkResult> => counted(undefined, ...rows);
/** The same, of a file whose rows were counted before. */
const counted = (rowCount: number | undefined, ...rows: string[][]): Promise<BulkResult> =>
  Promise.resolve({
    observed: { lowerMs: 0, upperMs: 1 },
    ...(rowCount === undefined ? {} : { rowCount }),
    rows: async function* file() {
      yield [header, ...rows];
    },
    close: async () => undefined,
  });

describe('a page', () => {
  test('is published once all its rows are in the log', async () => {
    expect(await take(() => resultOf(row('1'), row('2')))).toEqual(['published 2, 1 to 2']);
    expect(sent).toBe(2);
  });

  test('is requested again when its result is gone, which it is after a day; after five attempts the run fails', async () => {
    const gone = () => Promise.reject(new CrmError('gone', 'CRM_NOT_FOUND'));
    expect(await take(gone)).toEqual(['wanted again']);
    expect(await take(gone, { attempts: 5 })).toEqual(['wanted again', 'run failed']);
  });

  test('is requested again when its file is damaged, or has fewer or more rows than the job promised', async () => {
    await take(() => Promise.reject(new BulkFileError('cut off', 'BULK_FILE_DAMAGED')));
    await take(() => resultOf(row('1')));
    expect(await take(() => resultOf(row('1'), row('2'), row('3')))).toEqual(['wanted again', 'wanted again', 'wanted again']);
  });

  test('with another number of rows than promised is not even begun where that is known beforehand: cells may have moved between rows', async () => {
    for (const rows of [1, 3]) await take(() => counted(rows, row('1'), row('2')));
    expect([outcome, sent]).toEqual([['wanted again', 'wanted again'], 0]);
  });

  test('of which no row can be read is requested again, however few they are; when that is the same, it is the rows, and they are kept aside', async () => {
    expect(await take(() => resultOf(row('x'), row('9223372036854775808')))).toEqual(['wanted again']);
    expect(await take(() => resultOf(row('x'), row('9223372036854775808')), { attempts: 2 })).toEqual(['wanted again', 'published 0']);
    expect(letters).toBe(2);
  });

  test('with a row that no message of the log has room for is published without it, and the row is kept aside', async () => {
    tooLarge = '2';
    expect(await take(() => resultOf(row('1'), row('2')))).toEqual(['published 1, 1 to 2']);
    expect([sent, letters]).toEqual([1, 1]);
  });

  test('whose token names an earlier page, or that has a thousand before it, ends its run: the chain would not end', async () => {
    const pages = [{ id: 2, pageNumber: 2, pageToken: 'same', state: 'published' as const }];
    await take(() => Promise.reject(new Error('nothing is downloaded')), { pageNumber: 3, pageToken: 'same' }, { pages });
    expect(await take(() => Promise.reject(new Error('nothing is downloaded')), { pageNumber: 1_001 })).toEqual(['run failed', 'run failed']);
  });

  test('leaves its bad rows as dead letters once, when it is taken, and none when it is requested again', async () => {
    await take(() => resultOf(row('1'), row('x'), row('3')));
    expect(letters).toBe(0);
    await take(() => resultOf(row('1'), row('x')));
    expect([outcome, letters]).toEqual([['wanted again', 'published 1, 1 to 1'], 1]);
  });

  test('with a multi-select value that the picklist does not explain keeps it as it stands, and wants a look at the record', async () => {
    const cells = row('1').map((cell, at) => (header[at] === 'Languages_Known' ? 'English,Elvish' : cell));
    expect(await take(() => resultOf(cells, row('2')))).toEqual(['Leads contradicts', '1 unexplained', 'published 2, 1 to 2']);
  });

  test('stays as it is while the CRM refuses the download, whatever the cause, and is tried again later and later', async () => {
    let downloads = 0;
    for (const code of ['CRM_UNREACHABLE', 'CRM_RATE_LIMITED', 'CRM_UNAUTHORIZED', 'CRM_REFUSED'] as const) await take(() => ((downloads += 1), Promise.reject(new CrmError('later', code))));
    expect([outcome, downloads]).toEqual([[], 1]);
    for (let seconds = 0; seconds < 3_600; seconds += 10) {
      time.elapsedMs += 10_000;
      await take(() => ((downloads += 1), Promise.reject(new CrmError('later', 'CRM_UNAUTHORIZED'))));
    }
    expect([new Set(outcome), downloads <= 14]).toEqual([new Set(['noted: later']), true]);
    time.elapsedMs += 15 * 60_000;
    expect((await take(() => resultOf(row('1'), row('2')))).at(-1)).toBe('published 2, 1 to 2');
  });

  test('that cannot be downloaded makes no other page wait', async () => {
    const other = { id: 2, runId: 8, module: 'Leads', pageNumber: 1, state: 'ready', jobId: '4712', jobCreatedAt: new Date(), rowCount: 1, moreRecords: false, attempts: 1 } as BulkPageRow;
    const open = (jobId: string): Promise<BulkResult> => (jobId === '4712' ? resultOf(row('5')) : Promise.reject(new CrmError('not now', 'CRM_UNAVAILABLE')));
    expect(await take(open, {}, { others: [other] })).toEqual(['published 1, 5 to 5']);
  });

  test('is not published before what lies between it and the page before it is in the log', async () => {
    const asked: unknown[] = [];
    const pages = (from: number): ReturnType<CrmClient['recordsBetween']> =>
      Promise.resolve({ records: [{ id: String(from), modifiedTime: '2026-05-04T10:00:00+05:30', values: Object.fromEntries(fields.map((field) => [field, null])) }], observed: { lowerMs: 0, upperMs: 1 }, hasMore: from === 9 });
    const crm = { recordsBetween: ({ afterId, beforeId }: { afterId: string; beforeId: string | null }) => (asked.push([afterId, beforeId, sent]), pages(Number(afterId) + 1)) };
    const before = { id: 2, pageNumber: 1, state: 'published', firstId: '1', lastId: '8' } as const;
    expect(await take(() => resultOf(row('12'), row('13')), { pageNumber: 2 }, { pages: [before], crm })).toEqual(['published 2, 12 to 13']);
    expect(asked).toEqual([['8', '12', 2], ['9', '12', 3]]);
    expect(sent).toBe(4);
  });

  test('that has no rows, because so many were deleted since the page before it, leaves all that follows to be asked about', async () => {
    const asked: unknown[] = [];
    const crm = { recordsBetween: ({ afterId, beforeId }: { afterId: string; beforeId: string | null }) => (asked.push([afterId, beforeId]), Promise.resolve({ records: [], observed: { lowerMs: 0, upperMs: 1 }, hasMore: false })) };
    const before = { id: 2, pageNumber: 1, state: 'published', firstId: '1', lastId: '8' } as const;
    expect(await take(() => Promise.reject(new Error('no result is fetched')), { pageNumber: 2, rowCount: 0 }, { pages: [before], crm })).toEqual(['published 0']);
    expect(asked).toEqual([['8', null]]);
  });
});
