import { hasPassed } from '@lockstep/completeness';
import type { CrmClient } from '@lockstep/crm-client';
import type { ModuleDefinition } from '@lockstep/modules';
import type { BulkRunRow, BulkRuns } from '@lockstep/postgres';
import type { Logger } from '@lockstep/telemetry';

import { type CreditDeps, planRead } from './credit-watch.ts';

export type StartInitialRunDeps = CreditDeps & {
  readonly runs: BulkRuns;
  readonly crm: Pick<CrmClient, 'countRecords'>;
  /** The database's time. */
  readonly now: () => Date;
  readonly log: Logger;
};

/** A run that failed is begun again after this, doubled with every failure. */
const RETRY_AFTER_MS = 10 * 60_000;
const MAX_RETRY_AFTER_MS = 6 * 60 * 60_000;

/** Whether a module's first load is to begin: it never did, or the last attempt failed long enough ago. */
export function isInitialRunDue(runs: readonly Pick<BulkRunRow, 'kind' | 'state' | 'finishedAt'>[], now: Date): boolean {
  const initial = runs.filter(({ kind }) => kind === 'initial');
  if (initial.some(({ state }) => state !== 'failed')) return false;
  const lastFailure = Math.max(...initial.map(({ finishedAt }) => finishedAt?.getTime() ?? 0));
  const waitMs = Math.min(RETRY_AFTER_MS * 2 ** (initial.length - 1), MAX_RETRY_AFTER_MS);
  return initial.length === 0 || hasPassed(lastFailure, waitMs, now.getTime());
}

/** Begins the first load of a module whose channel is open. Count and plan are for people only: a first load waits for nothing. */
export async function startInitialRun(deps: StartInitialRunDeps, { apiName }: ModuleDefinition): Promise<void> {
  const { runs, crm, now, log } = deps;
  const known = (await runs.all()).filter(({ module }) => module === apiName);
  if (!isInitialRunDue(known, now())) return;
  const expectedRows = await crm.countRecords(apiName).catch((error: unknown) => {
    log.warn({ err: error, module: apiName }, 'the CRM would not count the records; there will be no estimate');
    return null;
  });
  const run = await runs.start(apiName, 'initial', { expectedRows });
  if (run !== null) log.info({ module: apiName, run: run.id, plan: expectedRows === null ? null : await planRead(deps, expectedRows) }, 'initial sync began');
}
