import { BulkFileError } from '@lockstep/bulk-file';
import { CrmError } from '@lockstep/crm-client';
import { loggedFields, type ModuleDefinition } from '@lockstep/modules';
import type { BulkPageRow, BulkRuns, WantedLooks } from '@lockstep/postgres';
import { crashPoint, type Logger } from '@lockstep/telemetry';

import { type FieldFactsSource, noFacts } from '../field-facts.ts';
import type { ReaderMetrics } from '../metrics.ts';
import type { BulkResults } from './bulk-results.ts';
import { closeSeams, type CloseSeamsDeps } from './close-seams.ts';
import { publishRows, type RowsOutcome } from './publish-rows.ts';

export type IngestPagesDeps = CloseSeamsDeps & {
  readonly runs: BulkRuns;
  readonly results: BulkResults;
  readonly modules: readonly ModuleDefinition[];
  /** What picklists hold; without it no multi-select cell is cut. */
  readonly facts?: FieldFactsSource;
  readonly looks?: Pick<WantedLooks, 'want'>;
  readonly metrics: ReaderMetrics;
  readonly log: Logger;
};

const MAX_ATTEMPTS = 5;
const PROGRESS_EVERY_MS = 1_000;

/**
 * Takes every page that is ready, one after another: download, publish, note it as published. A crash in between leaves the
 * page ready, and it is published again: the fold does not mind.
 * @returns true when there was anything to do.
 */
export async function ingestReadyPages(deps: IngestPagesDeps, signal: AbortSignal): Promise<boolean> {
  const ready = (await deps.runs.openPages()).filter(({ state, module }) => state === 'ready' && deps.modules.some(({ apiName }) => apiName === module));
  for (const page of ready) {
    signal.throwIfAborted();
    await ingestPage(deps, page, signal);
  }
  return ready.length > 0;
}

async function ingestPage(deps: IngestPagesDeps, page: BulkPageRow, signal: AbortSignal): Promise<void> {
  const { runs, log } = deps;
  const module = deps.modules.find(({ apiName }) => apiName === page.module) as ModuleDefinition;
  const started = performance.now();
  try {
    const { rows, ids, bad, unexplained, longTexts } = page.rowCount === 0 ? noRows : await publish(deps, module, page, signal);
    const moved = await closeSeams(deps, module, page, ids, signal);
    await noteUnexplained(deps, page.module, unexplained);
    await deps.texts?.compare(module, longTexts, signal);
    // Only now, so that a page that is requested again leaves no letter twice.
    await deps.deadLetters.put(bad);
    crashPoint('page-published');
    await runs.published(page, { rows, ids });
    const seconds = (performance.now() - started) / 1000;
    log.info({ module: page.module, page: page.pageNumber, rows, bad: bad.length, unexplained: unexplained.length, moved, seconds, rowsPerSecond: Math.round(rows / seconds) }, 'a bulk page was published');
  } catch (error) {
    if (signal.aborted) throw error;
    await giveBack(deps, page, error);
  }
}

const noRows: RowsOutcome = { rows: 0, ids: null, bad: [], unexplained: [], longTexts: [] };

async function publish({ results, producer, register, texts, facts = noFacts, epsilonMs, metrics, runs, log }: IngestPagesDeps, module: ModuleDefinition, page: BulkPageRow, signal: AbortSignal): Promise<RowsOutcome> {
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
    return await publishRows({ rows: result.rows, jobId, reading: `${kind} run ${runId}, page ${page.pageNumber}`, module, span, promised, producer, register: kind === 'initial' ? undefined : register, multiSelects, ...(texts === undefined ? {} : { textareas: isKnown ? textareas : textsOf(module) }), epsilonMs, onProgress, signal });
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

/** Damaged or gone: a new job. A person's matter: the run fails. Anything else: the page stays ready, and is tried again. */
async function giveBack({ runs, log }: IngestPagesDeps, page: BulkPageRow, error: unknown): Promise<void> {
  const failure = error instanceof Error ? error.message : String(error);
  const isGone = error instanceof CrmError && error.code === 'CRM_NOT_FOUND';
  const isDamaged = error instanceof BulkFileError && error.retryable;
  const facts = { err: error, module: page.module, page: page.pageNumber, jobId: page.jobId };
  if ((isGone || isDamaged) && page.attempts < MAX_ATTEMPTS) {
    log.warn(facts, 'a bulk result is requested again');
    return await runs.wantedAgain(page, failure);
  }
  if (isGone || error instanceof BulkFileError || (error instanceof CrmError && !error.retryable)) {
    log.error(facts, 'a bulk run cannot go on');
    return await runs.failed(page.runId, failure);
  }
  throw error;
}
