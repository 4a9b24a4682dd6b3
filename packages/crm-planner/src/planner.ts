import type { ModuleDefinition } from '@lockstep/modules';

import { type AuditDeps, Auditor } from './audit.ts';
import { catchUp, type CatchUpDeps } from './catch-up.ts';
import { ClockWatch, type ClockWatchDeps } from './clock-watch.ts';
import { ChannelKeeper, type ChannelKeeperDeps } from './channel-keeper.ts';
import { type CreditDeps, CreditWatch } from './credit-watch.ts';
import { FutureRepair, type FutureRepairDeps } from './future-repair.ts';
import { Gaps, type GapsDeps } from './gaps.ts';
import { type MovePagesDeps, PageMover } from './move-pages.ts';
import { type RefreshDeps, refreshWhenDue } from './refresh.ts';
import { Reporter, type ReporterDeps } from './reporter.ts';
import { startInitialRun, type StartInitialRunDeps } from './start-initial-run.ts';

export type PlannerDeps = ChannelKeeperDeps & StartInitialRunDeps & MovePagesDeps & CatchUpDeps & RefreshDeps & AuditDeps & CreditDeps & GapsDeps & ReporterDeps & FutureRepairDeps & ClockWatchDeps;

/**
 * Plans what is read of a module. Each round, in the source article's order: the channel first, then the bulk read, so that no
 * change falls between them; then what changed since the watermark, whether or not anything seems to be missing.
 */
export class Planner {
  readonly #deps: PlannerDeps;
  readonly #channels: ChannelKeeper;
  readonly #mover: PageMover;
  readonly #auditor: Auditor;
  readonly #gaps: Gaps;
  readonly #future: FutureRepair;
  readonly #clocks: ClockWatch;
  readonly #credits: CreditWatch;
  readonly #reporter: Reporter;

  constructor(given: PlannerDeps) {
    const reporter = new Reporter(given);
    this.#reporter = reporter;
    this.#credits = new CreditWatch(given, reporter);
    const deps = { ...given, catchUpRules: this.#credits.rules };
    this.#deps = deps;
    this.#channels = new ChannelKeeper(deps, reporter);
    this.#mover = new PageMover(deps);
    this.#auditor = new Auditor(deps, reporter);
    this.#gaps = new Gaps(deps, reporter);
    this.#future = new FutureRepair(deps, reporter);
    this.#clocks = new ClockWatch(deps, reporter);
  }

  /**
   * @param pollAll the CRM said that some bulk job has ended: every job is asked about.
   * @returns whether something of the module is under way, so that the next round should come soon.
   */
  async round(module: ModuleDefinition, { pollAll }: { pollAll: boolean }): Promise<boolean> {
    // First, for what fails below must not hide itself.
    await this.#credits.update(module);
    await this.#clocks.watch();
    await this.#gaps.report(module);
    const { isOpened, failure } = await this.#channels.keep(module);
    const isUnderWay = isOpened && (await this.#read(module, pollAll));
    // Only now: a channel that cannot be renewed is no reason to catch up later.
    if (failure !== null) throw failure;
    return isUnderWay;
  }

  /** Reports why freshness does not move on, for a module that may have no round yet. */
  async reportGaps(module: ModuleDefinition): Promise<void> {
    await this.#gaps.report(module);
  }

  async #read(module: ModuleDefinition, pollAll: boolean): Promise<boolean> {
    const isScanWanted = await this.#future.repair(module);
    await startInitialRun(this.#deps, module);
    const hasPages = await this.#mover.move(module, { pollAll });
    const isCatchingUp = await catchUp(this.#deps, module, { isScanWanted });
    await refreshWhenDue(this.#deps, module, this.#reporter);
    await this.#auditor.audit(module);
    return hasPages || isCatchingUp;
  }
}
