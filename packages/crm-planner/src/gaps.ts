import { type CatchUpRules, isLate } from '@lockstep/completeness';
import type { CrmClient } from '@lockstep/crm-client';
import type { ModuleDefinition } from '@lockstep/modules';
import type { BulkRuns, DeletionBreaker, Watermarks } from '@lockstep/postgres';
import { realTime, type Time } from '@lockstep/telemetry';

import type { Reporter } from './reporter.ts';

export type GapsDeps = {
  readonly runs: Pick<BulkRuns, 'all'>;
  readonly watermarks: Pick<Watermarks, 'current'>;
  readonly breaker: Pick<DeletionBreaker, 'held'>;
  readonly catchUpRules: CatchUpRules;
  readonly crm: Pick<CrmClient, 'time'>;
  readonly now: () => Date;
  readonly time?: Pick<Time, 'elapsed'>;
};

const LOOK_EVERY_MS = 5_000;

/** Reports why a module's freshness does not move on. */
export class Gaps {
  readonly #deps: GapsDeps;
  readonly #reporter: Reporter;
  readonly #lookedAt = new Map<string, number>();

  constructor(deps: GapsDeps, reporter: Reporter) {
    this.#deps = deps;
    this.#reporter = reporter;
  }

  /** Costs three queries every five seconds. */
  async report({ apiName }: ModuleDefinition): Promise<void> {
    const elapsedMs = (this.#deps.time ?? realTime).elapsed();
    if (elapsedMs < (this.#lookedAt.get(apiName) ?? Number.NEGATIVE_INFINITY) + LOOK_EVERY_MS) return;
    await this.#reportLate(apiName);
    await this.#reportHeld(apiName);
    this.#lookedAt.set(apiName, elapsedMs);
  }

  async #reportLate(module: string): Promise<void> {
    const readUpTo = await this.#readUpTo(module);
    if (readUpTo === null || !isLate(readUpTo.atMs, readUpTo.nowMs, this.#deps.catchUpRules)) return await this.#reporter.close(module, 'catch-up-late');
    await this.#reporter.open(module, 'catch-up-late', `no catch-up that began after ${new Date(readUpTo.atMs).toISOString()} has been completed`);
  }

  /** When the latest catch-up that was completed began, by the CRM's clock; before the first one, when the first load ended, by the database's. */
  async #readUpTo(module: string): Promise<{ readonly atMs: number; readonly nowMs: number } | null> {
    const { watermarks, catchUpRules, crm, runs, now } = this.#deps;
    const claimed = await watermarks.current(module, 'changes');
    if (claimed !== null) return { atMs: claimed.getTime() + catchUpRules.marginMs, nowMs: crm.time().earliestMs };
    const finishedAt = (await runs.all()).find((run) => run.module === module && run.kind === 'initial' && run.state === 'complete')?.finishedAt ?? null;
    return finishedAt === null ? null : { atMs: finishedAt.getTime(), nowMs: now().getTime() };
  }

  async #reportHeld(module: string): Promise<void> {
    const held = (await this.#deps.breaker.held()).find((one) => one.module === module);
    if (held === undefined) return await this.#reporter.close(module, 'deletions-held');
    await this.#reporter.open(module, 'deletions-held', `${held.deletions} deletions within an hour, and ${held.allowed} are believed; see "lockstep release"`);
  }
}
