import type { ModuleDefinition } from '@lockstep/modules';
import type { BulkPageRow, BulkRunRow, BulkRuns, CatchUps, DeletionBreaker } from '@lockstep/postgres';
import { realTime, type Time } from '@lockstep/telemetry';

import type { Reporter } from './reporter.ts';
import { messageOf } from './steps.ts';

export type FaultWatchDeps = {
  readonly runs: Pick<BulkRuns, 'all' | 'openPages'>;
  readonly catchUps: Pick<CatchUps, 'failing' | 'latest'>;
  readonly breaker: Pick<DeletionBreaker, 'held'>;
  readonly time?: Pick<Time, 'elapsed'>;
};

/** What failed of a module's steps in this process, as its source says it; null where nothing did. */
export type StepFailures = { readonly load: unknown; readonly catchUp: unknown };

const LOOK_EVERY_MS = 5_000;
/** One failure in a row is often chance, and is repeated within ten seconds. */
const MIN_FAILURES = 2;

/** Reports what keeps a module from being read: its load, its catch-ups, a page, the scan for restores. What a new leader has to know is in the tables. */
export class FaultWatch {
  readonly #deps: FaultWatchDeps;
  readonly #reporter: Reporter;
  readonly #lookedAt = new Map<string, number>();

  constructor(deps: FaultWatchDeps, reporter: Reporter) {
    this.#deps = deps;
    this.#reporter = reporter;
  }

  /** Costs five queries every five seconds. */
  async report({ apiName }: ModuleDefinition, failures: StepFailures): Promise<void> {
    const elapsedMs = (this.#deps.time ?? realTime).elapsed();
    if (elapsedMs < (this.#lookedAt.get(apiName) ?? Number.NEGATIVE_INFINITY) + LOOK_EVERY_MS) return;
    this.#lookedAt.set(apiName, elapsedMs);
    const runs = (await this.#deps.runs.all()).filter(({ module }) => module === apiName);
    const page = (await this.#deps.runs.openPages()).find((one) => one.module === apiName && isStuck(one));
    const run = runs.find(({ id }) => id === page?.runId);
    await this.#report(apiName, 'page-unreadable', page === undefined ? null : `page ${page.pageNumber} of ${nameOf(run)}: ${causeOf(page)}`);
    await this.#report(apiName, 'load-failing', loadFault(runs, page, failures.load));
    await this.#report(apiName, 'catch-up-failing', await this.#catchUpFault(apiName, failures.catchUp));
    await this.#report(apiName, 'restore-scan-failing', await this.#scanFault(apiName));
  }

  async #catchUpFault(module: string, failure: unknown): Promise<string | null> {
    if (failure !== null) return messageOf(failure);
    const { failures, cause } = await this.#deps.catchUps.failing(module);
    // Held deletions are an incident of their own.
    if (failures < MIN_FAILURES || (await this.#deps.breaker.held()).some((held) => held.module === module)) return null;
    return `${failures} in a row have failed: ${cause}`;
  }

  async #scanFault(module: string): Promise<string | null> {
    const { scanned } = await this.#deps.catchUps.latest(module);
    if (scanned === undefined || scanned.scanFailure === null) return null;
    const depth = scanned.scannedFrom === null ? 'could not be read for restores' : `could be read back to ${scanned.scannedFrom.toISOString()} only, and not to ${scanned.scanFrom?.toISOString()}`;
    return `the list of deletions ${depth}, so restores of earlier deletions are not noticed: ${scanned.scanFailure}`;
  }

  async #report(module: string, kind: 'page-unreadable' | 'load-failing' | 'catch-up-failing' | 'restore-scan-failing', fault: string | null): Promise<void> {
    await (fault === null ? this.#reporter.close(module, kind) : this.#reporter.open(module, kind, fault));
  }
}

/** A page that was requested more than once in vain, or whose result the reader has noted as one that it cannot take; and that has not come further since. */
export const isStuck = ({ attempts, failure, state }: BulkPageRow): boolean => typeof failure === 'string' && (state === 'ready' || (state === 'wanted' && attempts >= MIN_FAILURES));

const causeOf = ({ attempts, failure, nextAttemptAt, state }: BulkPageRow): string =>
  state === 'ready' ? `its result cannot be taken: ${failure} (tried again from a second to 15 minutes apart)` : `${failure} (attempt ${attempts}; the next one is made ${nextAttemptAt instanceof Date ? `at ${nextAttemptAt.toISOString()}` : 'now'})`;

const nameOf = (run: BulkRunRow | undefined): string => (run?.kind === 'initial' ? 'the first load' : `the ${run?.kind ?? 'run'}`);

/** Why the first load or a refresh does not go on; what failed last counts until another one is complete or under way. */
function loadFault(runs: readonly BulkRunRow[], page: BulkPageRow | undefined, failure: unknown): string | null {
  if (failure !== null) return messageOf(failure);
  const run = runs.findLast(({ kind }) => kind !== 'catch-up');
  if (run?.state === 'failed') return `${nameOf(run)} has failed: ${run.failure}`;
  return page !== undefined && page.runId === run?.id ? `${nameOf(run)} waits for page ${page.pageNumber}: ${causeOf(page)}` : null;
}
