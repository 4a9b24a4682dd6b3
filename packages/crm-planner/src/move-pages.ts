import { type BulkReadJob, type BulkReadRequest, type CrmClient, CrmError, fieldNamedBy, isOfAField } from '@lockstep/crm-client';
import { coverageOf, type ModuleDefinition } from '@lockstep/modules';
import { pathSecret } from '@lockstep/notifications';
import type { BulkPageRow, BulkRuns, FieldsMissing, Signals } from '@lockstep/postgres';
import { crashPoint, type Logger, realTime, type Time } from '@lockstep/telemetry';

import type { PlanBudget } from './credit-watch.ts';
import { isDue, JOB_CREDITS, mayRequest, waitAfterMs } from './job-budget.ts';
import type { PlannerMetrics } from './metrics.ts';

/*
 * A page's life, one row of the job table, so that the next leader goes on where the last one stopped:
 *
 *   wanted ──create job──▶ requested ──COMPLETED──▶ ready ──(ingress: download, publish)──▶ published
 *     ▲                        │                      │
 *     └── refused, failed, gone, stuck ─── damaged ───┘
 *
 * Each attempt is counted in the table before its call, and the next one waits, longer each time (`job-budget.ts`): the API has no list of jobs, so one whose answer
 * was lost, or whose leader was killed before noting it, cannot be found again. It costs 50 credits and nothing else.
 */

export type MovePagesDeps = {
  readonly runs: BulkRuns;
  readonly crm: Pick<CrmClient, 'createBulkRead' | 'bulkReadStatus' | 'rules' | 'time'>;
  /** Fields that the CRM refuses: exports leave them out, and their columns stay as they are. */
  readonly fields: Pick<FieldsMissing, 'all' | 'note'>;
  readonly signals: Pick<Signals, 'send'>;
  /** All that are configured: they share the jobs. */
  readonly modules: readonly Pick<ModuleDefinition, 'apiName'>[];
  readonly secret: string;
  readonly publicUrl: string;
  /** The budget of all calls; without it nothing is held back. */
  readonly budget?: PlanBudget;
  /** The database's time. */
  readonly now: () => Date;
  readonly time?: Pick<Time, 'elapsed'>;
  readonly log: Logger;
  readonly metrics: PlannerMetrics;
};

/** A job that is not done by then is taken for lost. */
const STUCK_AFTER_MS = 24 * 3_600_000;
const HOUR_MS = 3_600_000;
/** What was changed so long before a refusal may have been read without the field. */
const MARGIN_MS = 60_000;
const MIN_POLL_MS = 500;
const MAX_POLL_MS = 30_000;
const MAX_POLL_OF_LONG_MS = 600_000;
/** A large catch-up goes on by queries where it cannot be read in bulk: so it does not wait for hours. */
const MAX_CATCH_UP_ATTEMPTS = 4;

/** How long after its creation, and then how often, a job is asked about: a tenth of its age. */
export const pollEveryMs = (ageMs: number): number => Math.min(Math.max(ageMs / 10, MIN_POLL_MS), ageMs < HOUR_MS ? MAX_POLL_MS : MAX_POLL_OF_LONG_MS);

/** Moves the pages of a module's run as far as they go now. */
export class PageMover {
  readonly #deps: MovePagesDeps;
  readonly #time: Pick<Time, 'elapsed'>;
  /** When this process asked about a job last, by job. The next leader begins without it. */
  readonly #askedAt = new Map<string, number>();

  constructor(deps: MovePagesDeps) {
    this.#deps = deps;
    this.#time = deps.time ?? realTime;
  }

  /**
   * @param pollAll the CRM said that some job has ended: every job is asked about.
   * @returns whether some page waits for the CRM or for us; what is ready is the reader's.
   * @throws the first failure, once every page was tried.
   */
  async move(module: ModuleDefinition, { pollAll }: { pollAll: boolean }): Promise<boolean> {
    const open = (await this.#deps.runs.openPages()).filter((page) => this.#deps.modules.some(({ apiName }) => apiName === page.module));
    this.#forgetAllBut(open);
    const ofModule = open.filter((one) => one.module === module.apiName);
    const failures: unknown[] = [];
    for (const page of ofModule) {
      try {
        if (mayRequest(page, open, this.#nowMs()) && this.#isPayable(JOB_CREDITS)) await this.#request(module, page);
        if (page.state === 'requested' && (pollAll || this.#isToBeAsked(page)) && this.#isPayable(1)) await this.#ask(page);
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
    return ofModule.some((page) => page.state === 'requested' || (page.state === 'wanted' && isDue(page, this.#nowMs())));
  }

  async #request(module: ModuleDefinition, page: BulkPageRow): Promise<void> {
    const { runs, crm, secret, publicUrl, metrics, log } = this.#deps;
    const { kind, fromTime } = await runs.runOf(page);
    if (kind === 'catch-up' && page.attempts >= MAX_CATCH_UP_ATTEMPTS) return await runs.failed(page.runId, page.failure ?? 'too many attempts');
    const byToken = crm.rules.nextPageBy === 'page_token' && page.pageNumber > 1;
    const attempt = await runs.attempt(page, waitAfterMs(page.attempts + 1));
    if (attempt === null) return;
    try {
      const job = await this.#create(module, {
        module: module.apiName,
        page: page.pageNumber,
        pageToken: byToken ? (page.pageToken ?? '') : null,
        since: fromTime ?? null,
        callbackUrl: `${publicUrl}/bulk-callbacks/${pathSecret(secret)}`,
      });
      crashPoint('job-created');
      await runs.requested(attempt, job);
      metrics.bulkJobs.inc({ module: module.apiName });
      log.info({ module: module.apiName, page: page.pageNumber, attempt: attempt.attempts, jobId: job.jobId }, 'bulk job requested');
    } catch (error) {
      if (!(error instanceof CrmError)) throw error;
      const isExpired = error.code === 'CRM_PAGE_TOKEN_EXPIRED';
      // A token lives a day, and belongs to one user. The whole run begins again; what was read already is refused by the fold.
      if (isExpired || (byToken && error.code === 'CRM_REFUSED')) return await runs.failed(page.runId, isExpired ? 'the page token expired' : `the page token was refused: ${error.message}`);
      await runs.refused(attempt, error.message);
      log.warn({ err: error, module: module.apiName, page: page.pageNumber, attempt: attempt.attempts, nextAttemptAt: attempt.nextAttemptAt }, 'a bulk job was not created');
    }
  }

  /** Leaves out what the CRM is known to refuse. A field that the refusal names is noted, and the job is requested without it at once: each time one field less. */
  async #create(module: ModuleDefinition, request: Omit<BulkReadRequest, 'fields'>): Promise<BulkReadJob> {
    const { crm, fields: store, log } = this.#deps;
    for (;;) {
      const missing = (await store.all()).flatMap((one) => (one.module === module.apiName && !one.isBack ? [one.field] : []));
      const fields = coverageOf(module).fields.filter((field) => !missing.includes(field));
      try {
        return await crm.createBulkRead({ ...request, fields: [...fields, 'Modified_Time'] });
      } catch (error) {
        const field = isOfAField(error) && request.pageToken === null ? fieldNamedBy(error, fields) : null;
        if (field === null || !this.#isPayable(JOB_CREDITS)) throw error;
        await store.note({ module: module.apiName, field, cause: (error as CrmError).message.slice(0, 500), since: new Date(crm.time().earliestMs - MARGIN_MS) });
        log.error({ err: error, module: module.apiName, field }, 'the CRM refuses to export a mapped field: it is left out, and its column stays as it is; restore the field or its permission, or change the mapping');
      }
    }
  }

  /** What cannot be paid is not tried. */
  #isPayable(credits: number): boolean {
    return this.#deps.budget?.canPay({ purpose: 'bulk-read', credits }) !== false;
  }

  #isToBeAsked(page: BulkPageRow): boolean {
    return this.#time.elapsed() - (this.#askedAt.get(page.jobId ?? '') ?? Number.NEGATIVE_INFINITY) >= pollEveryMs(this.#ageMs(page));
  }

  async #ask(page: BulkPageRow): Promise<void> {
    const { runs, crm, signals, log } = this.#deps;
    this.#askedAt.set(page.jobId ?? '', this.#time.elapsed());
    const status = await crm.bulkReadStatus(page.jobId ?? '').catch((error: unknown) => {
      if (error instanceof CrmError && error.code === 'CRM_NOT_FOUND') return { state: 'failed', failure: 'the CRM does not know the job' } as const;
      if (error instanceof CrmError && error.code === 'CRM_REPLY_UNEXPECTED') {
        // The page is kept and polled again, until the job counts as lost.
        log.warn({ err: error, module: page.module, page: page.pageNumber, jobId: page.jobId }, 'the status of a bulk job cannot be believed');
        return { state: 'running' } as const;
      }
      throw error;
    });
    switch (status.state) {
      case 'running':
        // A job may be queued for hours; another one would be queued behind it.
        if (this.#ageMs(page) < STUCK_AFTER_MS) return;
        return await runs.wantedAgain(page, 'the job did not end within a day');
      case 'failed':
        log.warn({ module: page.module, page: page.pageNumber, jobId: page.jobId, failure: status.failure }, 'a bulk job failed');
        return await runs.wantedAgain(page, status.failure);
      case 'completed':
        await runs.ready(page, status);
        await signals.send('ready');
    }
  }

  /** How long ago the job was noted. */
  #ageMs({ updatedAt }: BulkPageRow): number {
    return Math.max(0, this.#nowMs() - updatedAt.getTime());
  }

  #nowMs(): number {
    return this.#deps.now().getTime();
  }

  #forgetAllBut(open: readonly BulkPageRow[]): void {
    const jobs = new Set(open.map(({ jobId }) => jobId));
    for (const jobId of this.#askedAt.keys()) if (!jobs.has(jobId)) this.#askedAt.delete(jobId);
  }
}
