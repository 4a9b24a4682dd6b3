import { type CrmClient, CrmError } from '@lockstep/crm-client';
import type { Random } from '@lockstep/crm-simulator';
import type { ModuleDefinition } from '@lockstep/modules';

import type { VirtualRecords } from './virtual-records.ts';
import type { VirtualTime } from './virtual-time.ts';

/** A page begins behind an id, where tokens name it, or behind so many rows, where numbers do. */
type Job = { readonly module: string; readonly fields: readonly string[]; readonly sinceMs: number; readonly after: string; readonly skip: number; readonly startedMs: number; readonly willFail: boolean; result: { readonly rows: string[][]; readonly more: boolean } | undefined; isGone: boolean };
type Status = Awaited<ReturnType<CrmClient['bulkReadStatus']>>;

const RESULT_LIVES_MS = 24 * 3_600_000;

/** The bulk read jobs of a virtual CRM. */
export class VirtualJobs {
  readonly #time: VirtualTime;
  readonly #random: Random;
  readonly #records: VirtualRecords;
  readonly #modules: ReadonlyMap<string, ModuleDefinition>;
  readonly #pageSize: number;
  readonly #jobs = new Map<string, Job>();

  constructor({ time, random, records, modules, pageSize }: { time: VirtualTime; random: Random; records: VirtualRecords; modules: ReadonlyMap<string, ModuleDefinition>; pageSize: number }) {
    this.#time = time;
    this.#random = random;
    this.#records = records;
    this.#modules = modules;
    this.#pageSize = pageSize;
  }

  /** @param fields those of the first page hold for all that follow by token. @param pageToken of the page before; null or empty for the first, and where pages are requested by number. @returns the job's id. */
  create({ module, fields, page, pageToken, since, willFail }: { module: string; fields: readonly string[]; page: number; pageToken: string | null; since: Date | null; willFail: boolean }): string {
    const [former = '', after = ''] = (pageToken ?? '').split('/');
    const before = this.#jobs.get(former);
    if (former !== '' && before === undefined) throw new CrmError('the token has expired', 'CRM_PAGE_TOKEN_EXPIRED');
    const jobId = String(this.#jobs.size + 1);
    const job: Job = { module, fields: before?.fields ?? fields, sinceMs: before?.sinceMs ?? since?.getTime() ?? Number.NEGATIVE_INFINITY, after, skip: pageToken === null ? (page - 1) * this.#pageSize : 0, startedMs: this.#time.now(), willFail, result: undefined, isGone: false };
    this.#jobs.set(jobId, job);
    this.#time.after(1_000 + this.#random.below(60_000), () => this.#finish(job));
    return jobId;
  }

  status(jobId: string): Status {
    const job = this.#jobs.get(jobId);
    if (job === undefined) throw new CrmError('no such job', 'CRM_NOT_FOUND');
    if (job.result === undefined) return { state: 'running' };
    if (job.willFail) return { state: 'failed', failure: 'a simulated failure' };
    const { rows, more } = job.result;
    return { state: 'completed', count: rows.length - 1, moreRecords: more, ...(more ? { nextPageToken: `${jobId}/${rows.at(-1)?.[0]}` } : {}) };
  }

  moduleOf(jobId: string): string {
    return this.#jobs.get(jobId)?.module ?? '';
  }

  /** The rows of a result, the header first. */
  rows(jobId: string): string[][] {
    const job = this.#jobs.get(jobId);
    if (job?.result === undefined || job.isGone) throw new CrmError('the result is gone', 'CRM_NOT_FOUND');
    return job.result.rows;
  }

  /** A result is no snapshot: each row is read at a moment of its own while the job runs. */
  #finish(job: Job): void {
    const fields = (this.#modules.get(job.module)?.fields ?? []).filter(({ field }) => job.fields.includes(field));
    const rows: string[][] = [['Id', ...fields.map(({ field }) => field), 'Modified_Time']];
    let [more, skipped] = [false, 0];
    for (const id of this.#records.everKnown(job.module)) {
      if (id <= job.after) continue;
      const record = this.#records.at(job.module, id, job.startedMs + this.#random.below(this.#time.now() - job.startedMs));
      if (record === undefined || record.modifiedMs < job.sinceMs) continue;
      if (skipped++ < job.skip) continue;
      if (rows.length > this.#pageSize) {
        more = true;
        break;
      }
      rows.push([id, ...fields.map(({ field }) => textOf(record.value(field))), new Date(record.modifiedMs).toISOString()]);
    }
    job.result = { rows, more };
    this.#time.after(RESULT_LIVES_MS, () => {
      job.isGone = true;
    });
  }
}

/** A cell of a CSV. The simulated fields are texts, numbers, booleans, and lookups, which are ids here. */
function textOf(value: unknown): string {
  if (value === null || value === undefined) return '';
  return `${(typeof value === 'object' && 'id' in value ? value.id : value) as string | number | boolean}`;
}
