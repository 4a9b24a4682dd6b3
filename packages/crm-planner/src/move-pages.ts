import { type CrmClient, CrmError } from '@lockstep/crm-client';
import { coverageOf, type ModuleDefinition } from '@lockstep/modules';
import { pathSecret } from '@lockstep/notifications';
import type { BulkPageRow, BulkRuns, Signals } from '@lockstep/postgres';
import { crashPoint, type Logger, realTime, type Time } from '@lockstep/telemetry';

import type { PlannerMetrics } from './metrics.ts';

/*
 * A page's life, one row of the job table, so that the next leader goes on where the last one stopped:
 *
 *   wanted ──create job──▶ requested ──COMPLETED──▶ ready ──(ingress: download, publish)──▶ published
 *     ▲                        │                      │
 *     └── failed, gone, stuck ─┴──────── damaged ─────┘      five attempts, then the run is failed
 *
 * A leader killed between requesting a job and noting it requests another one: that costs 50 credits and nothing else.
 */

export type MovePagesDeps = {
  readonly runs: BulkRuns;
  readonly crm: Pick<CrmClient, 'createBulkRead' | 'bulkReadStatus' | 'rules'>;
  readonly signals: Pick<Signals, 'send'>;
  readonly secret: string;
  readonly publicUrl: string;
  readonly time?: Pick<Time, 'elapsed'>;
  readonly log: Logger;
  readonly metrics: PlannerMetrics;
};

const MAX_ATTEMPTS = 5;
/** Jobs of one organisation run about one after another. */
const MAX_JOBS = 2;
/** A job that is not done by then is taken for lost. */
const STUCK_AFTER_MS = 60 * 60_000;
const MIN_POLL_MS = 500;
const MAX_POLL_MS = 30_000;

/** How long after its creation, and then how often, a job is asked about: a tenth of its age. */
export const pollEveryMs = (ageMs: number): number => Math.min(Math.max(ageMs / 10, MIN_POLL_MS), MAX_POLL_MS);

/** Moves the pages of a module's run as far as they go now. */
export class PageMover {
  readonly #deps: MovePagesDeps;
  readonly #time: Pick<Time, 'elapsed'>;
  /** By job: when this process met it, and when it asked about it last. The next leader begins without it. */
  readonly #jobs = new Map<string, { readonly metAt: number; askedAt: number }>();

  constructor(deps: MovePagesDeps) {
    this.#deps = deps;
    this.#time = deps.time ?? realTime;
  }

  /**
   * @param pollAll the CRM said that some job has ended: every job is asked about.
   * @returns whether some page waits for the CRM or for us; what is ready is the reader's.
   */
  async move(module: ModuleDefinition, { pollAll }: { pollAll: boolean }): Promise<boolean> {
    const open = await this.#deps.runs.openPages();
    const jobs = open.filter(({ state }) => state === 'requested').length;
    const ofModule = open.filter((one) => one.module === module.apiName);
    for (const page of ofModule) {
      if (page.state === 'wanted' && jobs < MAX_JOBS) await this.#request(module, page);
      if (page.state === 'requested' && (pollAll || this.#isDue(page))) await this.#ask(page);
    }
    return ofModule.some(({ state }) => state !== 'ready');
  }

  async #request(module: ModuleDefinition, page: BulkPageRow): Promise<void> {
    const { runs, crm, secret, publicUrl, metrics, log } = this.#deps;
    if (page.attempts >= MAX_ATTEMPTS) return await runs.failed(page.runId, page.failure ?? 'too many attempts');
    const byToken = crm.rules.nextPageBy === 'page_token' && page.pageNumber > 1;
    try {
      const job = await crm.createBulkRead({
        module: module.apiName,
        fields: [...coverageOf(module).fields, 'Modified_Time'],
        page: page.pageNumber,
        pageToken: byToken ? (page.pageToken ?? '') : null,
        since: (await runs.runOf(page)).fromTime ?? null,
        callbackUrl: `${publicUrl}/bulk-callbacks/${pathSecret(secret)}`,
      });
      crashPoint('job-created');
      await runs.requested(page, job);
      metrics.bulkJobs.inc({ module: module.apiName });
      log.info({ module: module.apiName, page: page.pageNumber, jobId: job.jobId }, 'bulk job requested');
    } catch (error) {
      if (!(error instanceof CrmError)) throw error;
      const isExpired = error.code === 'CRM_PAGE_TOKEN_EXPIRED';
      // A token lives a day, and belongs to one user. The whole run begins again; what was read already is refused by the fold.
      if (!isExpired && !(byToken && error.code === 'CRM_REFUSED')) throw error;
      await runs.failed(page.runId, isExpired ? 'the page token expired' : `the page token was refused: ${error.message}`);
    }
  }

  #isDue(page: BulkPageRow): boolean {
    const { metAt, askedAt } = this.#jobOf(page);
    const nowMs = this.#time.elapsed();
    return nowMs - askedAt >= pollEveryMs(nowMs - metAt);
  }

  #jobOf({ jobId }: BulkPageRow): { readonly metAt: number; askedAt: number } {
    const known = this.#jobs.get(jobId ?? '') ?? { metAt: this.#time.elapsed(), askedAt: Number.NEGATIVE_INFINITY };
    this.#jobs.set(jobId ?? '', known);
    return known;
  }

  async #ask(page: BulkPageRow): Promise<void> {
    const { runs, crm, signals, log } = this.#deps;
    const job = this.#jobOf(page);
    job.askedAt = this.#time.elapsed();
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
        if (this.#time.elapsed() - job.metAt < STUCK_AFTER_MS) return;
        return await runs.wantedAgain(page, 'the job did not end within an hour');
      case 'failed':
        log.warn({ module: page.module, page: page.pageNumber, jobId: page.jobId, failure: status.failure }, 'a bulk job failed');
        return await runs.wantedAgain(page, status.failure);
      case 'completed':
        this.#jobs.delete(page.jobId ?? '');
        await runs.ready(page, status);
        await signals.send('ready');
    }
  }
}
