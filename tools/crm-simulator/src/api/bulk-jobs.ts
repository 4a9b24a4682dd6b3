/**
 * Bulk read jobs: ADDED → QUEUED → IN PROGRESS → COMPLETED, by time. The file is written while a job is IN PROGRESS, one
 * job of the organisation after another; the rows are read as they are written, so a result is no snapshot.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { currentUser } from '../catalogue/pools.ts';
import type { Clock } from '../clock.ts';
import type { Deliveries } from '../deliveries.ts';
import { ApiError } from '../errors.ts';
import { idOf, keyBase } from '../record-ids.ts';
import type { CsvForm } from '../render/csv.ts';
import type { Organisation } from '../store/organisation.ts';
import type { BulkQuery, PageStart } from './bulk-request.ts';
import type { Json } from './json-body.ts';
import { spoolPage } from './spool.ts';
import type { Version } from './world.ts';

type Result = { readonly count: number; readonly hasMore: boolean; readonly nextToken: string | null };

type Job = {
  readonly id: string;
  readonly version: Version;
  readonly query: BulkQuery;
  readonly start: PageStart;
  readonly createdMs: number;
  readonly callback: string | null;
  readonly file: string;
  state: 'ADDED' | 'QUEUED' | 'IN PROGRESS' | 'COMPLETED' | 'FAILURE';
  completedMs: number;
  result: Result | null;
};

type Deps = {
  readonly clock: Clock;
  readonly organisation: Organisation;
  readonly deliveries: Deliveries;
  readonly instant: (ms: number) => string;
  readonly csv: CsvForm;
  readonly pageSize: number;
  readonly delayMs: number;
  readonly spoolDir: string | null;
};

const DAY_MS = 86_400_000;

/** All bulk jobs of the organisation, their result files and the page tokens. */
export class BulkJobs {
  readonly #deps: Deps;
  readonly #jobs = new Map<string, Job>();
  readonly #tokens = new Map<string, { readonly query: BulkQuery; readonly start: PageStart; readonly expiresAtMs: number }>();
  readonly #stop = new AbortController();
  #queue: Promise<void> = Promise.resolve();
  #folder: Promise<string> | undefined;
  #count = 0;

  constructor(deps: Deps) {
    this.#deps = deps;
  }

  /** @throws {ApiError} `EXPIRED_VALUE` for an old token, `INVALID_DATA` for an unknown one. */
  continuation(token: string): { query: BulkQuery; start: PageStart } {
    const next = this.#tokens.get(token);
    const details = { api_name: 'page_token', json_path: '$.query.page_token' };
    if (next === undefined) throw new ApiError(400, 'INVALID_DATA', 'invalid data', details);
    if (next.expiresAtMs <= this.#deps.clock.nowMs()) throw new ApiError(400, 'EXPIRED_VALUE', 'Page token expired', details);
    return next;
  }

  /** Puts a job in the queue. */
  async add(version: Version, query: BulkQuery, start: PageStart, callback: string | null): Promise<Job> {
    this.#folder ??= spoolFolder(this.#deps.spoolDir);
    const id = idOf(keyBase.jobs + ++this.#count * 7);
    const file = join(await this.#folder, `${id}.zip`);
    const job: Job = { id, version, query, start, createdMs: this.#deps.clock.nowMs(), callback, file, state: 'ADDED', completedMs: 0, result: null };
    this.#jobs.set(id, job);
    await this.#sweep();
    this.#queue = this.#queue.then(() => this.#run(job));
    return job;
  }

  get(id: string): Job | undefined {
    return this.#jobs.get(id);
  }

  /** The file of a completed job of the last day, or undefined. */
  file(id: string): string | undefined {
    const job = this.#jobs.get(id);
    return job?.state === 'COMPLETED' && job.completedMs + DAY_MS > this.#deps.clock.nowMs() ? job.file : undefined;
  }

  /** A job as status replies and callbacks show it. */
  status(job: Job): Json {
    return {
      id: job.id,
      operation: 'read',
      state: job.state,
      ...(job.result === null ? failure(job) : { result: this.#result(job, job.result) }),
      query: job.query.echo,
      created_by: { id: currentUser.id, name: currentUser.name },
      created_time: this.#deps.instant(job.createdMs),
      file_type: 'csv',
    };
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#queue;
    const folder = await this.#folder;
    if (folder === undefined) return;
    if (this.#deps.spoolDir === null) return rm(folder, { recursive: true, force: true });
    await Promise.all([...this.#jobs.values()].map((job) => rm(job.file, { force: true })));
  }

  #result(job: Job, { count, hasMore, nextToken }: Result): Json {
    return {
      page: job.start.page,
      per_page: this.#deps.pageSize,
      count,
      download_url: `/crm/bulk/v${job.version}/read/${job.id}/result`,
      more_records: hasMore,
      ...(nextToken === null ? {} : { next_page_token: nextToken }),
    };
  }

  async #run(job: Job): Promise<void> {
    const { clock, delayMs, organisation, csv, instant, pageSize } = this.#deps;
    const beganMs = clock.elapsedMs();
    const until = (part: number) => clock.sleep(Math.max(0, beganMs + delayMs * part - clock.elapsedMs()), this.#stop.signal);
    try {
      await until(0.2);
      job.state = 'QUEUED';
      await until(0.5);
      job.state = 'IN PROGRESS';
      const store = organisation.store(job.query.module.apiName);
      const { count, lastKey, hasMore } = await spoolPage({ store, query: job.query, start: job.start, pageSize, csv, instant, file: job.file, entry: `${job.id}.csv`, signal: this.#stop.signal });
      await until(1);
      if (this.#stop.signal.aborted) return;
      job.result = { count, hasMore, nextToken: hasMore && job.version > 6 ? this.#token(job, lastKey) : null };
      job.state = 'COMPLETED';
    } catch {
      job.state = 'FAILURE';
    }
    job.completedMs = clock.nowMs();
    if (job.callback !== null && !this.#stop.signal.aborted) this.#deps.deliveries.send({ url: job.callback, body: () => JSON.stringify({ data: [this.status(job)] }) });
  }

  #token(job: Job, lastKey: number): string {
    const token = randomBytes(24).toString('hex');
    const echo = { ...job.query.echo, page: job.start.page + 1 };
    this.#tokens.set(token, { query: { ...job.query, echo }, start: { page: job.start.page + 1, skip: 0, afterKey: lastKey }, expiresAtMs: this.#deps.clock.nowMs() + DAY_MS });
    return token;
  }

  /** Removes what is older than a day. */
  async #sweep(): Promise<void> {
    const before = this.#deps.clock.nowMs() - DAY_MS;
    for (const job of this.#jobs.values()) {
      if (job.completedMs === 0 || job.completedMs > before) continue;
      this.#jobs.delete(job.id);
      await rm(job.file, { force: true });
    }
    // An ended token is kept for another day: it is refused as expired, not as unknown.
    for (const [token, { expiresAtMs }] of this.#tokens) if (expiresAtMs < before) this.#tokens.delete(token);
  }
}

function failure(job: Job): Json {
  if (job.state !== 'FAILURE') return {};
  return { result: { error_message: { status: 'error', code: 'INTERNAL_SERVER_ERROR', message: 'Internal server error occurred.', details: {} } } };
}

async function spoolFolder(given: string | null): Promise<string> {
  if (given === null) return mkdtemp(join(tmpdir(), 'crm-simulator-'));
  await mkdir(given, { recursive: true });
  return given;
}
