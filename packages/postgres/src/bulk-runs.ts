import { databaseNow } from './database-clock.ts';
import type { Database } from './database.ts';
import { BulkPage, type BulkPageRow, BulkRun, type BulkRunRow, type RunKind } from './entities.ts';

/**
 * The job table: what the scheduler asks of the CRM and the ingress fetches. Every step is one row's change, so that a kill
 * at any point resumes at the page it was in. Times of ours are the database's.
 *
 * A step changes the page only as it was read: where another attempt was made since, or another job is noted, a late answer changes nothing.
 */
export type BulkRuns = {
  /** Starts a run with its first page wanted. @returns null when the module has a run already. */
  start(module: string, kind: RunKind, options?: { readonly expectedRows?: number | null; readonly fromTime?: Date | null }): Promise<BulkRunRow | null>;
  all(): Promise<BulkRunRow[]>;
  pagesOf(runId: number): Promise<BulkPageRow[]>;
  /** The run a page belongs to. */
  runOf(page: BulkPageRow): Promise<BulkRunRow>;
  /** Pages of running runs that are not published yet, oldest first. */
  openPages(): Promise<BulkPageRow[]>;
  /**
   * Counts an attempt, before its call, so that what is lost with a process is counted too.
   * @param waitMs how long at least until the next one.
   * @returns the page as it is now; null where another process has moved it on.
   */
  attempt(page: BulkPageRow, waitMs: number): Promise<BulkPageRow | null>;
  /** The attempt was refused, or its answer was lost. */
  refused(page: BulkPageRow, failure: string): Promise<void>;
  requested(page: BulkPageRow, job: { jobId: string; createdTime: Date }): Promise<void>;
  /** The result may be downloaded; if more records follow, the next page is wanted in the same transaction. */
  ready(page: BulkPageRow, result: { count: number; moreRecords: boolean; nextPageToken?: string }): Promise<void>;
  /** Back to `wanted`: the job failed, or its result is gone. */
  wantedAgain(page: BulkPageRow, failure: string): Promise<void>;
  progress(page: BulkPageRow, rowsPublished: number): Promise<void>;
  /** Every row of the page is acknowledged by Kafka; the last page's completes the run. */
  published(page: BulkPageRow, rows: PublishedRows): Promise<void>;
  failed(runId: number, failure: string): Promise<void>;
  /**
   * Jobs of a module that seem to be created in the future were created when their run began, or later: they are dated to that.
   * @param now CRM time, not later than it is.
   * @returns how many runs were cut.
   */
  cutFuture(module: string, now: Date, toleranceMs: number): Promise<number>;
};

/** What was published of a page: how many rows, and the least and the greatest id among them. */
export type PublishedRows = { readonly rows: number; readonly ids: { readonly first: string; readonly last: string } | null };

/** Lets the pages of a module that wait for their next attempt be requested at once. @returns how many. */
export async function pagesDueNow({ pool }: Pick<Database, 'pool'>, module: string): Promise<number> {
  const { rowCount } = await pool.query(
    `update lockstep.bulk_page p set next_attempt_at = now() from lockstep.bulk_run r
     where r.id = p.run_id and r.module = $1 and r.state = 'running' and p.state = 'wanted' and p.next_attempt_at > now()`,
    [module],
  );
  return rowCount ?? 0;
}

/** Begins a first load again whose last attempt failed, without its pause. @returns false where none has failed, or one runs or is complete. */
export async function restartFailedLoad(db: Pick<Database, 'orm' | 'pool'>, module: string): Promise<boolean> {
  const runs = bulkRuns(db);
  const loads = (await runs.all()).filter((run) => run.module === module && run.kind === 'initial');
  if (loads.length === 0 || loads.some(({ state }) => state !== 'failed')) return false;
  return (await runs.start(module, 'initial', { expectedRows: loads.at(-1)?.expectedRows ?? null })) !== null;
}

/** The job table in `lockstep.bulk_run` and `lockstep.bulk_page`. */
export function bulkRuns({ orm, pool }: Pick<Database, 'orm' | 'pool'>): BulkRuns {
  const now = (): Promise<Date> => databaseNow({ pool });
  const update = async (page: BulkPageRow, changes: Partial<BulkPageRow>): Promise<boolean> =>
    (await orm.em.fork().nativeUpdate(BulkPage, asRead(page), { ...changes, updatedAt: await now() })) === 1;

  return {
    start: async (module, kind, { expectedRows = null, fromTime = null } = {}) => {
      const em = orm.em.fork();
      if ((await em.count(BulkRun, { module, state: 'running' })) > 0) return null;
      const startedAt = await now();
      return em.transactional(async (tx) => {
        const run = tx.create(BulkRun, { module, kind, state: 'running', startedAt, fromTime, expectedRows, finishedAt: null, firstJobCreatedAt: null, failure: null });
        await tx.flush();
        tx.create(BulkPage, { ...wantedPage, runId: run.id, module, pageNumber: 1, pageToken: null, updatedAt: startedAt });
        return run;
      });
    },
    all: () => orm.em.fork().find(BulkRun, {}, { orderBy: { id: 'asc' } }),
    pagesOf: (runId) => orm.em.fork().find(BulkPage, { runId }, { orderBy: { pageNumber: 'asc' } }),
    runOf: ({ runId }) => orm.em.fork().findOneOrFail(BulkRun, { id: runId }),
    openPages: async () => {
      const em = orm.em.fork();
      const running = await em.find(BulkRun, { state: 'running' });
      return em.find(BulkPage, { runId: { $in: running.map((run) => run.id) }, state: { $ne: 'published' } }, { orderBy: { id: 'asc' } });
    },
    attempt: async (page, waitMs) => {
      const at = await now();
      const counted = { attempts: page.attempts + 1, nextAttemptAt: new Date(at.getTime() + waitMs), updatedAt: at };
      const isCounted = (await orm.em.fork().nativeUpdate(BulkPage, { ...asRead(page), state: 'wanted' }, counted)) === 1;
      return isCounted ? { ...page, ...counted } : null;
    },
    refused: async (page, failure) => void (await update(page, { failure })),
    requested: async (page, { jobId, createdTime }) => {
      const isNoted = await update(page, { state: 'requested', jobId, jobCreatedAt: createdTime, failure: null });
      if (!isNoted) return;
      // A first page that has to be requested again does not make the run begin later: others may have been read meanwhile.
      if (page.pageNumber === 1) await orm.em.fork().nativeUpdate(BulkRun, { id: page.runId, firstJobCreatedAt: null }, { firstJobCreatedAt: createdTime });
    },
    ready: async (page, { count, moreRecords, nextPageToken }) => {
      const updatedAt = await now();
      await orm.em.fork().transactional(async (tx) => {
        const isNoted = (await tx.nativeUpdate(BulkPage, asRead(page), { state: 'ready', rowCount: count, moreRecords, failure: null, updatedAt })) === 1;
        if (!isNoted || !moreRecords) return;
        const next = { runId: page.runId, module: page.module, pageNumber: page.pageNumber + 1, pageToken: nextPageToken ?? null };
        // A page that is read again keeps the pages that follow it.
        if ((await tx.count(BulkPage, { runId: next.runId, pageNumber: next.pageNumber })) > 0) return;
        tx.create(BulkPage, { ...wantedPage, ...next, updatedAt });
      });
    },
    wantedAgain: async (page, failure) => void (await update(page, { state: 'wanted', jobId: null, jobCreatedAt: null, rowsPublished: 0, firstId: null, lastId: null, failure })),
    progress: async (page, rowsPublished) => void (await update(page, { rowsPublished })),
    published: async (page, { rows, ids }) => {
      await pool.query(
        `with done as (
           update lockstep.bulk_page set state = 'published', rows_published = $2, first_id = $3, last_id = $4, failure = null, updated_at = now() where id = $1 and attempts = $5 returning run_id)
         update lockstep.bulk_run r set state = 'complete', finished_at = now() from done
         where r.id = done.run_id and r.state = 'running'
           and exists (select from lockstep.bulk_page p where p.run_id = r.id and p.more_records is false)
           and not exists (select from lockstep.bulk_page p where p.run_id = r.id and p.state <> 'published' and p.id <> $1)`,
        [page.id, rows, ids?.first ?? null, ids?.last ?? null, page.attempts],
      );
    },
    cutFuture: async (module, now, toleranceMs) => {
      const { rows } = await pool.query<{ cut: number }>(
        `with bounds as (
           select id, $2::timestamptz + make_interval(secs => $3::float8 / 1000) as most, $2::timestamptz - greatest(now() - started_at, interval '0') as began from lockstep.bulk_run where module = $1),
         pages as (
           update lockstep.bulk_page p set job_created_at = b.began from bounds b where p.run_id = b.id and p.job_created_at > b.most returning p.id),
         runs as (
           update lockstep.bulk_run r set first_job_created_at = b.began from bounds b where r.id = b.id and r.first_job_created_at > b.most returning r.id)
         select (select count(*)::int from runs) as cut`,
        [module, now, toleranceMs],
      );
      return rows[0]?.cut ?? 0;
    },
    failed: async (runId, failure) => {
      await orm.em.fork().nativeUpdate(BulkRun, { id: runId, state: 'running' }, { state: 'failed', finishedAt: await now(), failure });
    },
  };
}

/** The page, if it is still as it was read. */
const asRead = ({ id, attempts, jobId }: BulkPageRow) => ({ id, attempts, state: { $ne: 'published' as const }, ...(typeof jobId === 'string' ? { jobId } : {}) });

const wantedPage = {
  state: 'wanted',
  jobId: null,
  jobCreatedAt: null,
  rowCount: null,
  moreRecords: null,
  rowsPublished: 0,
  firstId: null,
  lastId: null,
  attempts: 0,
  nextAttemptAt: null,
  failure: null,
} as const;
