import { type CatchUpRules, isLate } from '@lockstep/completeness';
import type { ModuleDefinition } from '@lockstep/modules';
import type { BulkRuns, DeletionBreaker, Watermarks } from '@lockstep/postgres';

import type { Reporter } from './reporter.ts';

export type GapsDeps = {
  readonly runs: Pick<BulkRuns, 'all'>;
  readonly watermarks: Pick<Watermarks, 'current'>;
  readonly breaker: Pick<DeletionBreaker, 'held'>;
  readonly catchUpRules: CatchUpRules;
  readonly now: () => Date;
};

const LOOK_EVERY_MS = 5_000;

/** Reports why a module's freshness does not move on. */
export class Gaps {
  readonly #deps: GapsDeps;
  readonly #reporter: Reporter;
  readonly #lookedMs = new Map<string, number>();

  constructor(deps: GapsDeps, reporter: Reporter) {
    this.#deps = deps;
    this.#reporter = reporter;
  }

  /** Costs three queries every five seconds. */
  async report({ apiName }: ModuleDefinition): Promise<void> {
    const nowMs = this.#deps.now().getTime();
    if (nowMs < (this.#lookedMs.get(apiName) ?? Number.NEGATIVE_INFINITY) + LOOK_EVERY_MS) return;
    await this.#reportLate(apiName, nowMs);
    await this.#reportHeld(apiName);
    this.#lookedMs.set(apiName, nowMs);
  }

  async #reportLate(module: string, nowMs: number): Promise<void> {
    const readUpToMs = await this.#readUpToMs(module);
    if (readUpToMs === null || !isLate(readUpToMs, nowMs, this.#deps.catchUpRules)) return await this.#reporter.close(module, 'catch-up-late');
    await this.#reporter.open(module, 'catch-up-late', `no catch-up that began after ${new Date(readUpToMs).toISOString()} has been completed`);
  }

  /** When the latest catch-up that was completed began; before the first one, when the first load ended. */
  async #readUpToMs(module: string): Promise<number | null> {
    const claimed = await this.#deps.watermarks.current(module, 'changes');
    if (claimed !== null) return claimed.getTime() + this.#deps.catchUpRules.marginMs;
    const initial = (await this.#deps.runs.all()).find((run) => run.module === module && run.kind === 'initial' && run.state === 'complete');
    return initial?.finishedAt?.getTime() ?? null;
  }

  async #reportHeld(module: string): Promise<void> {
    const held = (await this.#deps.breaker.held()).find((one) => one.module === module);
    if (held === undefined) return await this.#reporter.close(module, 'deletions-held');
    await this.#reporter.open(module, 'deletions-held', `${held.deletions} deletions within an hour, and ${held.allowed} are believed; see "lockstep release"`);
  }
}
