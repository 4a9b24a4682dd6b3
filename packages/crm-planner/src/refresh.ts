import type { CrmClient } from '@lockstep/crm-client';
import type { ModuleDefinition } from '@lockstep/modules';
import type { BulkRunRow, BulkRuns } from '@lockstep/postgres';
import type { Logger } from '@lockstep/telemetry';

export type RefreshDeps = {
  readonly runs: BulkRuns;
  readonly crm: Pick<CrmClient, 'countRecords'>;
  readonly refreshEveryMs: number;
  readonly now: () => Date;
  readonly log: Logger;
};

/** A refresh that failed is begun anew after this. */
const RETRY_AFTER_MS = 6 * 60 * 60_000;

/** Whether the whole module is to be read again: the last full reading is old enough, and none has failed just now. */
export function isRefreshDue(runs: readonly Pick<BulkRunRow, 'kind' | 'state' | 'finishedAt'>[], now: Date, refreshEveryMs: number): boolean {
  const latest = (state: BulkRunRow['state']): number => Math.max(...runs.filter((run) => run.kind !== 'catch-up' && run.state === state).map(({ finishedAt }) => finishedAt?.getTime() ?? 0));
  if (runs.some(({ state }) => state === 'running') || latest('complete') < 0) return false;
  return latest('complete') + refreshEveryMs <= now.getTime() && latest('failed') + RETRY_AFTER_MS <= now.getTime();
}

/**
 * Reads a whole module again when it is due: the audit of everything that does not move `Modified_Time` (formulas, some
 * automations, restores), and of whatever the CRM may have left out before.
 */
export async function refreshWhenDue(deps: RefreshDeps, { apiName }: ModuleDefinition): Promise<void> {
  const runs = (await deps.runs.all()).filter(({ module }) => module === apiName);
  if (isRefreshDue(runs, deps.now(), deps.refreshEveryMs)) await startRefresh(deps, apiName);
}

/** @returns false when the module has a run under way, or no first load yet. */
export async function startRefresh({ runs, crm, log }: Pick<RefreshDeps, 'runs' | 'crm' | 'log'>, module: string): Promise<boolean> {
  const isLoaded = (await runs.all()).some((run) => run.module === module && run.kind === 'initial' && run.state === 'complete');
  if (!isLoaded) return false;
  const expectedRows = await crm.countRecords(module).catch(() => null);
  const run = await runs.start(module, 'refresh', { expectedRows });
  if (run !== null) log.info({ module, run: run.id, expectedRows }, 'refresh began');
  return run !== null;
}
