import { CreditBudget, creditsOf, type CallPurpose, type CrmClient, CrmClock, CrmError, momentOf, type Observed, observedBetween, type Priced, versionRules } from '@lockstep/crm-client';
import type { BulkResults } from '@lockstep/crm-reader';

import type { VirtualTime } from '../virtual-time.ts';
import type { CreditCount } from './credit-count.ts';
import type { EditedRecords } from './edited-records.ts';

/** How a process pays, as the transport does for each call. */
export type Payer = Pick<CreditBudget, 'pay' | 'learn'>;

type Call = Priced & { readonly purpose: CallPurpose; readonly module?: string; /** What the CRM charges, by its own list. */ readonly charged: number };
type Job = { readonly readyMs: number; readonly rows: string[][] };

const MIN_CALL_MS = 50;
const JITTER_MS = 200;
const JOB_MS = 30_000;
const WEEK_MS = 7 * 86_400_000;

/** A CRM that does nothing but change, answer, and charge: the same to every process, counted by its own list of prices. */
export class ChargingCrm {
  readonly #time: VirtualTime;
  readonly #records: ReadonlyMap<string, EditedRecords>;
  readonly #count: CreditCount;
  readonly #channels = new Map<string, { readonly module: string; readonly notifyUrl: string; readonly token: string; readonly expiresAt: Date }>();
  readonly #jobs = new Map<string, Job>();
  /** Whether no call is answered now. */
  isAway = false;

  constructor({ time, records, count }: { time: VirtualTime; records: ReadonlyMap<string, EditedRecords>; count: CreditCount }) {
    this.#time = time;
    this.#records = records;
    this.#count = count;
  }

  isListening(module: string): boolean {
    return [...this.#channels.values()].some((channel) => channel.module === module && channel.expiresAt.getTime() > this.#time.now());
  }

  /** As a process meets it that pays so. */
  connect(payer: Payer): { readonly client: CrmClient; readonly results: BulkResults } {
    const aheadMs = this.#time.now() - this.#time.elapsed();
    const clock = new CrmClock({ low: aheadMs, high: aheadMs });
    const call = <T>(what: Call, work: () => T): Promise<{ readonly value: T; readonly observed: Observed }> => this.#paid(payer, clock, what, work);
    const plain = async <T>(method: string, path: string, work: () => T, { purpose = 'other', charged = 1 }: { purpose?: CallPurpose; charged?: number } = {}): Promise<T> => (await call({ method, path, purpose, charged }, work)).value;
    return {
      results: this.#resultsOf(call),
      client: {
        rules: versionRules.v8,
        time: () => clock.time(momentOf(this.#time)),
        clock: () => clock.report(momentOf(this.#time)),
        enableNotifications: ({ channelId, ...wanted }) =>
          plain('POST', '/crm/v8/actions/watch', () => {
            this.#channels.set(channelId, { ...wanted, expiresAt: new Date(Math.min(wanted.expiresAt.getTime(), this.#time.now() + WEEK_MS)) });
            return { channelId, ...(this.#channels.get(channelId) as { module: string; notifyUrl: string; token: string; expiresAt: Date }) };
          }),
        listChannels: () => plain('GET', '/crm/v8/actions/watch', () => [...this.#channels].map(([channelId, channel]) => ({ channelId, ...channel, events: null }))),
        disableNotifications: () => plain('DELETE', '/crm/v8/actions/watch', () => undefined),
        createBulkRead: ({ module, since = null }) =>
          plain('POST', '/crm/bulk/v8/read', () => {
            const jobId = String(this.#jobs.size + 1);
            this.#jobs.set(jobId, { readyMs: this.#time.now() + JOB_MS, rows: this.#of(module).rows(since?.getTime() ?? Number.NEGATIVE_INFINITY) });
            return { jobId, createdTime: new Date(Math.floor(this.#time.now() / 1_000) * 1_000) };
          }, { purpose: 'bulk-read', charged: 50 }),
        bulkReadStatus: (jobId) =>
          plain('GET', `/crm/bulk/v8/read/${jobId}`, () => {
            const job = this.#job(jobId);
            return this.#time.now() < job.readyMs ? { state: 'running' as const } : { state: 'completed' as const, count: job.rows.length - 1, moreRecords: false };
          }, { purpose: 'bulk-read' }),
        downloadBulkRead: () => Promise.reject(new Error('results are opened, not downloaded')),
        lookAt: async ({ module, ids }) => {
          const { value, observed } = await call({ method: 'POST', path: '/crm/v8/coql', module, purpose: 'look', maxRows: ids.length, charged: 1 }, () => ids.filter((id) => this.#of(module).isRecord(id)).map((id) => this.#of(module).found(id)));
          return { records: value, observed };
        },
        changedSince: async ({ module, since, after }) => {
          const maxRows = after === null ? 200 : 2_000;
          const { value, observed } = await call({ method: 'POST', path: '/crm/v8/coql', module, purpose: 'catch-up', maxRows, charged: after === null ? 1 : 3 }, () => this.#of(module).changed(Math.floor(since.getTime() / 1_000) * 1_000, after, maxRows));
          return { ...value, observed };
        },
        recordsBetween: async ({ module }) => ({ records: [], hasMore: false, observed: (await call({ method: 'POST', path: '/crm/v8/coql', module, purpose: 'bulk-read', charged: 1 }, () => null)).observed }),
        deletedSince: async (module, _, purpose = 'catch-up') => ({ deletions: [], observed: (await call({ method: 'GET', path: `/crm/v8/${module}/deleted`, purpose, charged: 2 }, () => null)).observed }),
        countRecords: (module) => plain('GET', `/crm/v8/${module}/actions/count`, () => this.#of(module).count),
        edition: () => plain('GET', '/crm/v8/org', () => ({ edition: 'free', users: 1 })),
        fieldsOf: () => plain('GET', '/crm/v8/settings/fields', () => []),
        fullTexts: () => plain('GET', '/crm/v8/texts', () => []),
        readRecord: () => plain('GET', '/crm/v8/record', () => null),
        updateRecord: () => Promise.reject(new Error('Lockstep never writes to the CRM')),
        close: () => Promise.resolve(),
      },
    };
  }

  #resultsOf(call: <T>(what: Call, work: () => T) => Promise<{ readonly value: T; readonly observed: Observed }>): BulkResults {
    return {
      open: async (jobId) => {
        const { value, observed } = await call({ method: 'GET', path: `/crm/bulk/v8/read/${jobId}/result`, purpose: 'bulk-read', charged: 1 }, () => this.#job(jobId).rows);
        return {
          observed,
          close: async () => void this.#jobs.set(jobId, { ...this.#job(jobId), rows: [] }),
          rows: async function* rows() {
            for (let at = 0; at < value.length; at += 1_000) yield value.slice(at, at + 1_000);
          },
        };
      },
    };
  }

  /** What the transport does with each call; the CRM charges it whether it is answered or not. */
  async #paid<T>(payer: Payer, clock: CrmClock, { charged, ...what }: Call, work: () => T): Promise<{ readonly value: T; readonly observed: Observed }> {
    const kind = `${what.purpose} ${what.method} ${what.path.replaceAll(/\/\d+/g, '/{id}')} ${what.module ?? ''}`;
    const payment = await payer.pay({ purpose: what.purpose, credits: creditsOf(what), kind });
    this.#count.add(this.#time.elapsed(), payment.isRetry ? 'retry' : what.purpose, charged);
    const sent = momentOf(this.#time);
    await this.#time.sleep(MIN_CALL_MS + this.#time.jitter() * JITTER_MS);
    if (this.isAway) {
      payment.failed();
      throw new CrmError('the CRM gave no answer', 'CRM_UNREACHABLE');
    }
    const value = work();
    const date = new Date(this.#time.now()).toUTCString();
    await this.#time.sleep(MIN_CALL_MS + this.#time.jitter() * JITTER_MS);
    payment.answered();
    const ended = momentOf(this.#time);
    return { value, observed: observedBetween(sent, ended, clock.learn(sent, ended, date)) };
  }

  #of(module: string): EditedRecords {
    const records = this.#records.get(module);
    if (records === undefined) throw new CrmError(`there is no module ${module}`, 'CRM_REFUSED');
    return records;
  }

  #job(jobId: string): Job {
    const job = this.#jobs.get(jobId);
    if (job === undefined) throw new CrmError('no such job', 'CRM_NOT_FOUND');
    return job;
  }
}
