import { type CatchUpRules, STALE_AT_MOST_MS } from '@lockstep/completeness';
import { type CrmClient, TOLERANCE_MS } from '@lockstep/crm-client';
import type { ModuleDefinition } from '@lockstep/modules';
import type { BulkRuns, RegisterAudits, Watermarks } from '@lockstep/postgres';
import { type Logger, realTime, type Time } from '@lockstep/telemetry';

import type { Reporter } from './reporter.ts';

export type FutureRepairDeps = {
  readonly watermarks: Pick<Watermarks, 'withdrawFuture'>;
  readonly runs: Pick<BulkRuns, 'cutFuture'>;
  readonly audits: Pick<RegisterAudits, 'cutFuture'>;
  readonly crm: Pick<CrmClient, 'time'>;
  readonly catchUpRules: Pick<CatchUpRules, 'intervalMs'>;
  readonly log: Logger;
  readonly time?: Pick<Time, 'elapsed'>;
};

const LOOK_EVERY_MS = 5_000;
const AUDIT_EVERY_MS = 3_600_000;
/** What is still listed so much later than a look is deleted, whatever the look's time says. */
const SCAN_AFTER_MS = STALE_AT_MOST_MS + 120_000;
/** A time that lies further ahead is not one that comes again. */
const COMES_AGAIN_MS = 26 * 3_600_000;

/** Moments of the monotonic clock. `scansAt`: from when on the next catch-up is to read all deletions. */
type Memory = { lookedAt: number; auditedAt: number; repairedAt: number; scansAt: readonly number[] };

/**
 * Repairs what lies in the future: claims and register entries of a time when some clock was wrong, or of before the CRM's was set
 * back. A claim beyond the least that it can be now is withdrawn, so that catch-ups begin at the last believable one; a look or a
 * deletion beyond the most that it can be is cut to it, and its record is looked at again. Both wait until two sources of time agree.
 */
export class FutureRepair {
  readonly #deps: FutureRepairDeps;
  readonly #time: Pick<Time, 'elapsed'>;
  readonly #reporter: Reporter;
  readonly #memories = new Map<string, Memory>();

  constructor(deps: FutureRepairDeps, reporter: Reporter) {
    this.#deps = deps;
    this.#time = deps.time ?? realTime;
    this.#reporter = reporter;
  }

  /** @returns whether the list of deletions is to be read as far back as it goes: deletions may have been taken for older than a look. */
  async repair({ apiName }: ModuleDefinition): Promise<boolean> {
    const memory = this.#memoryOf(apiName);
    const elapsedMs = this.#time.elapsed();
    const { earliestMs, latestMs, isFirm } = this.#deps.crm.time();
    if (isFirm && elapsedMs >= memory.lookedAt + LOOK_EVERY_MS) {
      memory.lookedAt = elapsedMs;
      const { claims, aheadMs } = await this.#withdraw(apiName, earliestMs);
      const cut = claims > 0 || elapsedMs >= memory.auditedAt + AUDIT_EVERY_MS ? await this.#cut(apiName, latestMs, memory) : 0;
      if (claims + cut > 0) await this.#report(apiName, { claims, cut, aheadMs }, memory);
      else if (elapsedMs >= memory.repairedAt + AUDIT_EVERY_MS) await this.#reporter.close(apiName, 'future-repaired');
    }
    return memory.scansAt.some((at) => elapsedMs >= at && elapsedMs < at + this.#deps.catchUpRules.intervalMs + 60_000);
  }

  /** @returns how many claims and jobs were cut, and how far ahead the last claim lay. */
  async #withdraw(module: string, earliestMs: number): Promise<{ readonly claims: number; readonly aheadMs: number }> {
    const { watermarks, runs } = this.#deps;
    const now = new Date(earliestMs);
    const withdrawn = await watermarks.withdrawFuture(module, now, TOLERANCE_MS);
    const jobs = await runs.cutFuture(module, now, TOLERANCE_MS);
    return { claims: withdrawn.length + jobs, aheadMs: Math.max(0, (withdrawn[0]?.at.getTime() ?? 0) - earliestMs) };
  }

  async #cut(module: string, latestMs: number, memory: Memory): Promise<number> {
    const cut = await this.#deps.audits.cutFuture(module, new Date(latestMs), TOLERANCE_MS);
    memory.auditedAt = this.#time.elapsed();
    return cut;
  }

  async #report(module: string, { claims, cut, aheadMs }: { claims: number; cut: number; aheadMs: number }, memory: Memory): Promise<void> {
    const nowMs = this.#time.elapsed();
    memory.repairedAt = nowMs;
    // Once soon, and once when the time that comes again is over: until then looks from before it seem later than what follows them.
    memory.scansAt = [nowMs + SCAN_AFTER_MS, ...(aheadMs > 0 && aheadMs < COMES_AGAIN_MS ? [nowMs + aheadMs + SCAN_AFTER_MS] : [])];
    this.#deps.log.error({ module, claims, records: cut }, 'claims or looks lay in the future and were cut back');
    await this.#reporter.open(module, 'future-repaired', `${claims} claims and the times of ${cut} records lay in the future: some clock was wrong when they were noted, or the CRM's was set back; what they hid is read again`);
  }

  #memoryOf(module: string): Memory {
    const never = Number.NEGATIVE_INFINITY;
    const memory = this.#memories.get(module) ?? { lookedAt: never, auditedAt: never, repairedAt: never, scansAt: [] };
    this.#memories.set(module, memory);
    return memory;
  }
}
