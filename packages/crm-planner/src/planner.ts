import type { ModuleDefinition } from '@lockstep/modules';

import { catchUp, type CatchUpDeps } from './catch-up.ts';
import { type MovePagesDeps, PageMover } from './move-pages.ts';
import { type RefreshDeps, refreshWhenDue } from './refresh.ts';
import { renewChannel, type RenewChannelDeps } from './renew-channel.ts';
import { startInitialRun, type StartInitialRunDeps } from './start-initial-run.ts';

export type PlannerDeps = RenewChannelDeps & StartInitialRunDeps & MovePagesDeps & CatchUpDeps & RefreshDeps;

/**
 * Plans what is read of a module. Each round, in the source article's order: the channel first, then the bulk read, so that no
 * change falls between them; then what changed since the watermark, whether or not anything seems to be missing.
 */
export class Planner {
  readonly #deps: PlannerDeps;
  readonly #mover: PageMover;

  constructor(deps: PlannerDeps) {
    this.#deps = deps;
    this.#mover = new PageMover(deps);
  }

  /** @param isPoked whether the CRM said that some bulk job has ended. */
  async round(module: ModuleDefinition, { isPoked }: { isPoked: boolean }): Promise<void> {
    await renewChannel(this.#deps, module);
    await startInitialRun(this.#deps, module);
    await this.#mover.move(module, { isPoked });
    await catchUp(this.#deps, module);
    await refreshWhenDue(this.#deps, module);
  }
}
