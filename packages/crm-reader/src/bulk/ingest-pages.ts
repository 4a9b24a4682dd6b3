import { BulkFileError } from '@lockstep/bulk-file';
import { CrmError } from '@lockstep/crm-client';
import { loggedFields, type ModuleDefinition } from '@lockstep/modules';
import type { BulkPageRow, BulkRuns, WantedLooks } from '@lockstep/postgres';
import { crashPoint, type Logger } from '@lockstep/telemetry';

import { type FieldFactsSource, noFacts } from '../field-facts.ts';
import type { ReaderMetrics } from '../metrics.ts';
import type { MissingFields } from '../missing-fields.ts';
import type { BulkResults } from './bulk-results.ts';
import { closeSeams, type CloseSeamsDeps } from './close-seams.ts';
import type { PageWaits } from './page-waits.ts';
import { publishRows, type PublishRowsOptions, type RowsOutcome } from './publish-rows.ts';

export type IngestPagesDeps = CloseSeamsDeps & {
  readonly runs: BulkRuns;
  readonly results: BulkResults;
  readonly modules: readonly ModuleDefinition[];
  /** What picklists hold; without it no multi-select cell is cut. */
  readonly facts?: FieldFactsSource;
  readonly looks?: Pick<WantedLooks, 'want'>;
  /** Which fields a file may lack. */
  readonly missing?: Pick<MissingFields, 'mayBeAbsent'>;
  /** See `PublishRowsOptions`. */
  readonly declare?: PublishRowsOptions['declare'];
  readonly metrics: ReaderMetrics;
  readonly log: Logger;
  /** Which pages wait after a failure. */
  readonly waits: PageWaits;
};

const MAX_ATTEMPTS = 5;
/** One failure is often chance; what fails again is noted, and reported as an incident. */
const NOTED_FROM = 2;
/** Of the pages of a run: two hundred million rows. */
const MAX_PAGES = 1_000;
const PROGRESS_EVERY_MS = 1_000;

/**
 * Takes every page that is ready, one after another: download, publish, note it as published. A crash in between leaves the
 * page ready, and it is published again: the fold does not mind. A page that cannot be read waits by itself, longer each time.
 * @returns true when there was anything to do.
 */
export async function ingestReadyPages(deps: IngestPagesDeps, signal: AbortSignal): Promise<boolean> {
  const { runs, modules, waits } = deps;
  const ready = (await runs.openPages()).filter(({ state, module }) => state === 'ready' && modules.some(({ apiName }) => apiName === module));
  waits.keepOnly(ready);
  const due = ready.filter((page) => waits.isDue(page));
  for (const page of due) {
    signal.throwIfAborted();
    await ingestPage(deps, page, signal);
  }
  return due.length > 0;
}

async function ingestPage(deps: IngestPagesDeps, page: BulkPageRow, signal: AbortSignal): Promise<void> {
  const { runs, log, waits } = deps;
  const module = deps.modules.find(({ apiName }) => apiName === page.module) as ModuleDefinition;
  const started = performance.now();
  try {
    await checkChain(runs, page);
    const { rows, ids, bad, unexplained, longTexts } = page.rowCount === 0 ? noRows : await publish(deps, module, page, signal);
    const moved = await closeSeams(deps, module, page, ids, signal);
    await noteUnexplained(deps, page.module, unexplained);
    await deps.texts?.compare(module, longTexts, signal);
    // Only now, so that a page that is requested again leaves no letter twice.
    await deps.deadLetters.put(bad);
    crashPoint('page-published');
    await runs.published(page, { rows, ids });
    waits.done(page);
    const seconds = (performance.now() - started) / 1000;
    log.info({ module: page.module, page: page.pageNumber, rows, bad: bad.length, unexplained: unexplained.length, moved, seconds, rowsPerSecond: Math.round(rows / seconds) }, 'a bulk page was published');
  } catch (error) {
    if (signal.aborted) throw error;
    await giveBack(deps, page, error);
  }
}

/** Pages name each other, and the last says that it is the last: a chain that leads back, or does not end, is no export. */
async function checkChain(runs: IngestPagesDeps['runs'], page: BulkPageRow): Promise<void> {
  if (page.pageNumber > MAX_PAGES) throw new BulkFileError(`page ${page.pageNumber} of ${page.module}: the chain of pages does not end`, 'BULK_CHAIN_ENDLESS');
  if (page.pageToken === null || page.pageToken === undefined) return;
  const twin = (await runs.pagesOf(page.runId)).find(({ pageNumber, pageToken }) => pageNumber < page.pageNumber && pageToken === page.pageToken);
  if (twin !== undefined) throw new BulkFileError(`page ${page.pageNumber} of ${page.module} is named by the token of page ${twin.pageNumber}: the chain of pages does not advance`, 'BULK_CHAIN_ENDLESS');
}

const noRows: RowsOutcome = { rows: 0, ids: null, bad: [], unexplained: [], longTexts: [] };

async function publish({ results, producer, register, texts, facts = noFacts, missing, declare, epsilonMs, metrics, runs, log }: IngestPagesDeps, module: ModuleDefinition, page: BulkPageRow, signal: AbortSignal): Promise<RowsOutcome> {
  const { jobId, jobCreatedAt } = page;
  if (typeof jobId !== 'string' || !(jobCreatedAt instanceof Date)) throw new BulkFileError('the page has no job', 'BULK_FILE_DAMAGED');
  let noted = performance.now();
  let counted = 0;
  const onProgress = (rows: number): void => {
    metrics.bulkRows.inc({ module: page.module }, rows - counted);
    counted = rows;
    if (performance.now() - noted < PROGRESS_EVERY_MS) return;
    noted = performance.now();
    runs.progress(page, rows).catch((error: unknown) => log.warn({ err: error }, 'progress could not be noted'));
  };
  const result = await results.open(jobId, signal);
  try {
    const promised = page.rowCount ?? 0;
    const { isKnown, multiSelects, textareas } = facts.of(page.module);
    // A line more or less moves cells between rows: known beforehand, it is noticed before any of them is published.
    if (result.rowCount !== undefined && result.rowCount !== promised) throw new BulkFileError(`the file has ${result.rowCount} rows, the job promised ${promised}`, 'BULK_ROWS_MISMATCH');
    // A row may have been read at any time between the job's creation and the end of its download.
    const { lowerMs, upperMs } = result.observed;
    const span = { lowerMs: Math.min(jobCreatedAt.getTime(), lowerMs), upperMs };
    const { id: runId, kind } = await runs.runOf(page);
    return await publishRows({ rows: result.rows, jobId, reading: `${kind} run ${runId}, page ${page.pageNumber}`, module, span, promised, producer, register: kind === 'initial' ? undefined : register, multiSelects, isFirst: page.attempts <= 1, ...(missing && { missing: await missing.mayBeAbsent(page.module) }), ...(declare && { declare }), ...(texts === undefined ? {} : { textareas: isKnown ? textareas : textsOf(module) }), epsilonMs, onProgress, signal });
  } finally {
    await result.close();
  }
}

const textsOf = (module: ModuleDefinition): Set<string> => new Set(loggedFields(module).filter(({ kind }) => kind === 'text').map(({ field }) => field));

/** A query gives multi-select values one by one: what the cell left open, a look decides. */
async function noteUnexplained({ facts = noFacts, looks, metrics }: IngestPagesDeps, module: string, unexplained: RowsOutcome['unexplained']): Promise<void> {
  if (unexplained.length === 0) return;
  facts.contradicted(module);
  for (const { fields } of unexplained) for (const field of fields) metrics.unexplained.inc({ module, field });
  await looks?.want(module, unexplained.map(({ id }) => id), 'unexplained');
}

/**
 * Damaged or gone: a new job. A file that no other attempt would change: the run fails. Anything else, a refusal of the CRM too: the page stays ready and waits, as
 * the job's result is good for a day; once it is gone, the first rule holds.
 */
async function giveBack({ runs, waits, log }: IngestPagesDeps, page: BulkPageRow, error: unknown): Promise<void> {
  const failure = error instanceof Error ? error.message : String(error);
  const isGone = error instanceof CrmError && error.code === 'CRM_NOT_FOUND';
  const isDamaged = error instanceof BulkFileError && error.retryable;
  const facts = { err: error, module: page.module, page: page.pageNumber, jobId: page.jobId };
  if ((isGone || isDamaged) && page.attempts < MAX_ATTEMPTS) {
    log.warn(facts, 'a bulk result is requested again');
    return await runs.wantedAgain(page, failure);
  }
  if (isGone || error instanceof BulkFileError) {
    log.error(facts, 'a bulk run cannot go on');
    return await runs.failed(page.runId, failure);
  }
  const cause = !(error instanceof CrmError) ? 'parts' : error.retryable ? 'passing' : 'lasting';
  const pauseMs = waits.failed(page, cause);
  if (waits.failuresOf(page) >= NOTED_FROM) await runs.refused(page, failure);
  log[cause === 'lasting' ? 'error' : 'warn']({ ...facts, pauseMs }, 'a bulk page cannot be taken and will be tried again; other pages go on');
}
