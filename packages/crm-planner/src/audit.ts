import { type CountCheck, isCountWrong } from '@lockstep/completeness';
import type { CrmClient } from '@lockstep/crm-client';
import type { ModuleDefinition } from '@lockstep/modules';
import type { BulkRuns, IncidentKind, RegisterAudits, Watermarks } from '@lockstep/postgres';
import { type Logger, realTime, type Time } from '@lockstep/telemetry';

import type { Reporter } from './reporter.ts';

export type AuditDeps = {
  readonly runs: BulkRuns;
  readonly watermarks: Pick<Watermarks, 'current' | 'reached'>;
  readonly audits: RegisterAudits;
  readonly crm: Pick<CrmClient, 'countRecords' | 'time'>;
  readonly time?: Pick<Time, 'elapsed'>;
  readonly log: Logger;
};

const COUNT_EVERY_MS = 60 * 60_000;
/** When the register was not at rest at the time of a count. */
const COUNT_AGAIN_AFTER_MS = 60_000;
const TELL_HIDDEN_EVERY_MS = 60_000;

/** What is remembered of a module between rounds; times are the monotonic clock's. A new leader begins without it: every step may run twice. */
type Memory = { auditedRun: number | null; hiddenToldAtMs: number; countDueAtMs: number; count: CountCheck | null };

/**
 * Asks of a module what no look at a record can show, and reports it: what the last reading of everything has not met is
 * hidden; whether the CRM counts as many records as the register holds; whether a modified time lies in the future. Nothing is
 * removed, and nothing depends on it.
 */
export class Auditor {
  readonly #deps: AuditDeps;
  readonly #reporter: Reporter;
  readonly #memories = new Map<string, Memory>();

  constructor(deps: AuditDeps, reporter: Reporter) {
    this.#deps = deps;
    this.#reporter = reporter;
  }

  async audit(module: ModuleDefinition): Promise<void> {
    const memory = this.#memories.get(module.apiName) ?? { auditedRun: null, hiddenToldAtMs: Number.NEGATIVE_INFINITY, countDueAtMs: Number.NEGATIVE_INFINITY, count: null };
    this.#memories.set(module.apiName, memory);
    await this.#hideUnseen(module, memory);
    await this.#tellHidden(module, memory);
    await this.#count(module, memory);
  }

  /** Once the projector has applied all that a reading of the whole module saw, what is older than its beginning was not met by it. */
  async #hideUnseen({ apiName }: ModuleDefinition, memory: Memory): Promise<void> {
    const { runs, watermarks, audits, log } = this.#deps;
    const full = (await runs.all()).findLast(({ module, kind, state }) => module === apiName && kind !== 'catch-up' && state === 'complete');
    const began = full?.firstJobCreatedAt ?? null;
    if (full === undefined || began === null || memory.auditedRun === full.id) return;
    const reached = await watermarks.reached(apiName, 'everything');
    if (reached === null || reached < began) return;
    const newlyHidden = await audits.hideUnseen(apiName, began);
    if (newlyHidden > 0) log.warn({ module: apiName, run: full.id, newlyHidden }, 'records were not met by the reading of the whole module, and are not deleted');
    memory.auditedRun = full.id;
    memory.hiddenToldAtMs = Number.NEGATIVE_INFINITY;
  }

  async #tellHidden({ apiName }: ModuleDefinition, memory: Memory): Promise<void> {
    const nowMs = this.#elapsedMs();
    if (nowMs < memory.hiddenToldAtMs + TELL_HIDDEN_EVERY_MS) return;
    const hidden = await this.#deps.audits.hidden(apiName);
    await this.#report(apiName, 'records-hidden', hidden > 0, `${hidden} records that are not deleted cannot be seen any more: a permission, a sharing rule or a filter of the user whose token it is`);
    memory.hiddenToldAtMs = nowMs;
  }

  async #count(module: ModuleDefinition, memory: Memory): Promise<void> {
    const { watermarks, audits, crm: client } = this.#deps;
    const { apiName } = module;
    const nowMs = this.#elapsedMs();
    if (nowMs < memory.countDueAtMs) return;
    const claimed = await watermarks.current(apiName, 'changes');
    if (claimed === null) return;
    const { visible, changedSince, inFuture } = await audits.count(apiName, { changedSince: claimed, now: new Date(client.time().latestMs) });
    await this.#report(apiName, 'modified-in-future', inFuture > 0, `${inFuture} records bear a modified time that is yet to come; an edit of one may be seen an hour late`);
    const isAtRest = (await watermarks.reached(apiName, 'changes'))?.getTime() === claimed.getTime() && !(await this.#isReading(apiName));
    memory.countDueAtMs = nowMs + (isAtRest ? COUNT_EVERY_MS : COUNT_AGAIN_AFTER_MS);
    const crm = isAtRest ? await this.#countInCrm(apiName) : null;
    if (crm === null) return;
    const count = { crm, register: visible, underWay: changedSince };
    await this.#report(apiName, 'count-differs', isCountWrong(memory.count, count, module.onConvert !== undefined), `the CRM counts ${crm} records, the register holds ${visible} that are alive and visible`);
    memory.count = count;
  }

  #elapsedMs(): number {
    return (this.#deps.time ?? realTime).elapsed();
  }

  async #isReading(apiName: string): Promise<boolean> {
    return (await this.#deps.runs.all()).some(({ module, state }) => module === apiName && state === 'running');
  }

  async #countInCrm(apiName: string): Promise<number | null> {
    return this.#deps.crm.countRecords(apiName).catch((error: unknown) => {
      this.#deps.log.warn({ err: error, module: apiName }, 'the CRM would not count the records');
      return null;
    });
  }

  async #report(apiName: string, kind: IncidentKind, isSo: boolean, details: string): Promise<void> {
    await (isSo ? this.#reporter.open(apiName, kind, details) : this.#reporter.close(apiName, kind));
  }
}
