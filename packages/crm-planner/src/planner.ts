import type { ModuleDefinition } from '@lockstep/modules';

import { type AuditDeps, Auditor } from './audit.ts';
import { catchUp, type CatchUpDeps } from './catch-up.ts';
import { ClockWatch, type ClockWatchDeps } from './clock-watch.ts';
import { ChannelKeeper, type ChannelKeeperDeps } from './channel-keeper.ts';
import { type CreditDeps, CreditWatch } from './credit-watch.ts';
import { FaultWatch, type FaultWatchDeps, type StepFailures } from './fault-watch.ts';
import { FutureRepair, type FutureRepairDeps } from './future-repair.ts';
import { Gaps, type GapsDeps } from './gaps.ts';
import { type MovePagesDeps, PageMover } from './move-pages.ts';
import { type RefreshDeps, refreshWhenDue } from './refresh.ts';
import { Reporter, type ReporterDeps } from './reporter.ts';
import { startInitialRun, type StartInitialRunDeps } from './start-initial-run.ts';
import { Steps } from './steps.ts';

export type PlannerDeps = ChannelKeeperDeps & StartInitialRunDeps & MovePagesDeps & CatchUpDeps & RefreshDeps & AuditDeps & CreditDeps & GapsDeps & ReporterDeps & FutureRepairDeps & ClockWatchDeps & FaultWatchDeps;

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
  readonly #faults: FaultWatch;
  readonly #steps: Steps;
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
    this.#faults = new FaultWatch(deps, reporter);
    this.#steps = new Steps(deps);
  }

  /**
   * Each step is judged by itself: one that fails waits for a while, and the others go on.
   * @param pollAll the CRM said that some bulk job has ended: every job is asked about.
   * @returns whether something of the module is under way, so that the next round should come soon.
   * @throws what failed, in the end.
   */
  async round(module: ModuleDefinition, { pollAll }: { pollAll: boolean }): Promise<boolean> {
    const steps = this.#steps;
    // First, for what fails below must not hide itself.
    await steps.run(module, 'credits', () => this.#credits.update(module));
    await steps.run(module, 'clocks', () => this.#clocks.watch());
    await steps.run(module, 'gaps', () => this.#gaps.report(module));
    const channel = await steps.run(module, 'channel', () => this.#channels.keep(module));
    const isUnderWay = channel?.isOpened === true && (await this.#read(module, pollAll));
    await steps.run(module, 'faults', () => this.#faults.report(module, this.#failuresOf(module)));
    // Only now: a channel that cannot be renewed is no reason to catch up later.
    if (channel !== undefined && channel.failure !== null) throw channel.failure;
    steps.throwFailures(module);
    return isUnderWay;
  }

  /** Reports why freshness does not move on, for a module that may have no round yet. */
  async reportGaps(module: ModuleDefinition): Promise<void> {
    await this.#gaps.report(module);
  }

  async #read(module: ModuleDefinition, pollAll: boolean): Promise<boolean> {
    const steps = this.#steps;
    const isScanWanted = await steps.run(module, 'future', () => this.#future.repair(module));
    await steps.run(module, 'first load', () => startInitialRun(this.#deps, module));
    const hasPages = await steps.run(module, 'pages', () => this.#mover.move(module, { pollAll }));
    const isCatchingUp = await steps.run(module, 'catch-up', () => catchUp(this.#deps, module, { isScanWanted: isScanWanted === true }));
    await steps.run(module, 'refresh', () => refreshWhenDue(this.#deps, module, this.#reporter));
    await steps.run(module, 'audit', () => this.#auditor.audit(module));
    return hasPages === true || isCatchingUp === true;
  }

  #failuresOf(module: ModuleDefinition): StepFailures {
    const failureOf = (...names: readonly string[]): unknown => names.map((name) => this.#steps.failureOf(module, name)).find((failure) => failure !== null) ?? null;
    return { load: failureOf('first load', 'pages', 'refresh'), catchUp: failureOf('catch-up') };
  }
}
