import { STALE_AT_MOST_MS } from '@lockstep/completeness';
import type { ModuleDefinition } from '@lockstep/modules';

import type { Blocked } from './excuses.ts';
import { nothingBlocked } from './excuses.ts';
import { setClocksRight } from './host-clocks.ts';
import type { Watch } from './invariants.ts';
import { noFaults } from './virtual-crm.ts';
import { noTroubles, type World } from './world.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const RESTING_PACE_MS = 15_000;
/** What was refused again and again is requested after six hours at the latest. */
const LONGEST_PAUSE_MS = 7 * HOUR_MS;

/** A world in which nothing changes any more, and what it comes to. */
export class Rest {
  readonly #world: World;
  readonly #watch: Watch;

  constructor(world: World, watch: Watch) {
    this.#world = world;
    this.#watch = watch;
    world.crm.setFaults({ ...noFaults });
    world.crashes = 0;
    world.troubles = noTroubles;
    if (setClocksRight(world.clocks)) watch.setBack(HOUR_MS);
    // Little happens from here on: the rounds may be fewer.
    world.paceMs = Math.max(world.paceMs, RESTING_PACE_MS);
    world.startAll();
  }

  /** Time for two catch-ups and a scan for restores that began after the last change; the tables have to equal the CRM. */
  async caughtUp(blocked: Blocked = nothingBlocked): Promise<void> {
    await this.#catchUp(blocked);
    await this.#settled();
    this.#watch.checkEquality('quiet, two catch-ups and a scan for restores', blocked);
  }

  /** The same, and a refresh of all modules that are not blocked. */
  async refreshed(blocked: Blocked = nothingBlocked): Promise<void> {
    await this.#catchUp(blocked);
    for (const module of this.#world.options.modules) if (!blocked.modules.has(module.apiName)) await this.#refresh(module);
    await this.#pass(10 * MINUTE_MS + 2 * this.#world.options.catchUpIntervalMs);
    await this.#settled();
    this.#watch.checkEquality('quiet, two catch-ups and a refresh', blocked);
  }

  async #catchUp(blocked: Blocked): Promise<void> {
    for (let waitedMs = 0; waitedMs < LONGEST_PAUSE_MS && this.#isReadingInBulk(blocked); waitedMs += MINUTE_MS) await this.#pass(MINUTE_MS);
    const { catchUpIntervalMs, restoreScanEveryMs } = this.#world.options;
    // Until the CRM stamps with times that it never stamped with before, and no read can lag behind that.
    if (this.#watch.stampsAgainForMs > 0) await this.#pass(this.#watch.stampsAgainForMs + STALE_AT_MOST_MS);
    await this.#pass(restoreScanEveryMs + 4 * catchUpIntervalMs);
  }

  #isReadingInBulk({ modules }: Blocked): boolean {
    return this.#world.runs.rows().some(({ module, state }) => state === 'running' && !modules.has(module));
  }

  async #refresh(module: ModuleDefinition): Promise<void> {
    while (!(await begun(this.#world, () => this.#world.refresh(module)))) await this.#pass(MINUTE_MS);
  }

  async #pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 30_000) {
      await this.#world.time.advance(30_000);
      this.#watch.check();
    }
  }

  /** What waited may have been applied just now, long after its record was deleted: then the next scan settles it. */
  async #settled(): Promise<void> {
    const { modules, restoreScanEveryMs, catchUpIntervalMs } = this.#world.options;
    await this.#projected();
    if (modules.every((module) => this.#world.tables.freshness(module).unsettled === 0)) return;
    await this.#pass(restoreScanEveryMs + 2 * catchUpIntervalMs);
    await this.#projected();
  }

  /** A catch-up may have ended just now, and the projector's round is to come. */
  async #projected(): Promise<void> {
    const mostMs = MINUTE_MS + 2 * this.#world.paceMs;
    for (let waitedMs = 0; waitedMs < mostMs && !this.#watch.isProjected(); waitedMs += 1_000) await this.#world.time.advance(1_000);
  }
}

/** A call of the CRM takes virtual time, so time has to pass while it is waited for. */
async function begun(world: World, work: () => Promise<boolean>): Promise<boolean> {
  const outcome: { isBegun?: boolean } = {};
  const working = work().then((isBegun) => Object.assign(outcome, { isBegun }));
  while (outcome.isBegun === undefined) await world.time.advance(1_000);
  return (await working).isBegun;
}
