import type { CrmClient } from '@lockstep/crm-client';
import type { ModuleDefinition } from '@lockstep/modules';
import type { BulkRunRow, BulkRuns } from '@lockstep/postgres';
import type { Logger } from '@lockstep/telemetry';

import { type CreditDeps, planRead, type ReadPlan } from './credit-watch.ts';
import type { Reporter } from './reporter.ts';

export type RefreshDeps = CreditDeps & {
  readonly runs: BulkRuns;
  readonly crm: Pick<CrmClient, 'countRecords'>;
  readonly refreshEveryMs: number;
  /** The database's time. */
  readonly now: () => Date;
  readonly log: Logger;
};

/** A refresh that failed is begun again after this. */
const RETRY_AFTER_MS = 6 * 60 * 60_000;

/** Whether the whole module is to be read again: the last full reading is old enough, and none has failed just now. */
export function isRefreshDue(runs: readonly Pick<BulkRunRow, 'kind' | 'state' | 'finishedAt'>[], now: Date, refreshEveryMs: number): boolean {
  const latest = (state: BulkRunRow['state']): number => Math.max(...runs.filter((run) => run.kind !== 'catch-up' && run.state === state).map(({ finishedAt }) => finishedAt?.getTime() ?? 0));
  if (runs.some(({ state }) => state === 'running') || latest('complete') < 0) return false;
  return latest('complete') + refreshEveryMs <= now.getTime() && latest('failed') + RETRY_AFTER_MS <= now.getTime();
}

/**
 * Reads a whole module again when it is due: the audit of everything that does not move `Modified_Time` (formulas, some
 * automations, restores), and of whatever the CRM may have left out before. It waits while it would touch the reserve of credits.
 */
export async function refreshWhenDue(deps: RefreshDeps, { apiName }: ModuleDefinition, reporter: Reporter): Promise<void> {
  const runs = (await deps.runs.all()).filter(({ module }) => module === apiName);
  if (!isRefreshDue(runs, deps.now(), deps.refreshEveryMs)) return await reporter.close(apiName, 'refresh-waits');
  // The count of the last time: counting in each round would cost credits itself.
  const rows = runs.findLast(({ kind, state }) => kind !== 'catch-up' && state === 'complete')?.expectedRows ?? 0;
  const plan = await planRead(deps, rows);
  if (!plan.isAffordable) return await reporter.open(apiName, 'refresh-waits', `${costOf(plan)}, and that would touch the reserve`);
  await reporter.close(apiName, 'refresh-waits');
  await startRefresh(deps, apiName, { isAnyway: true });
}

/** What came of the wish to read a module again. The plan is null where the CRM would not count. */
export type RefreshStart = { readonly status: 'started'; readonly plan: ReadPlan | null } | { readonly status: 'refused'; readonly problem: string };

/** @param isAnyway even if that touches the reserve of credits. */
export async function startRefresh(deps: Omit<RefreshDeps, 'refreshEveryMs' | 'now'>, module: string, { isAnyway }: { isAnyway: boolean }): Promise<RefreshStart> {
  const { runs, crm, log } = deps;
  const isLoaded = (await runs.all()).some((run) => run.module === module && run.kind === 'initial' && run.state === 'complete');
  if (!isLoaded) return { status: 'refused', problem: `${module} was never loaded` };
  const expectedRows = await crm.countRecords(module).catch(() => null);
  const plan = expectedRows === null ? null : await planRead(deps, expectedRows);
  if (plan?.isAffordable === false && !isAnyway) return { status: 'refused', problem: `${module}: ${costOf(plan)}, and that would touch the reserve` };
  const run = await runs.start(module, 'refresh', { expectedRows });
  if (run === null) return { status: 'refused', problem: `${module} is being read already` };
  log.info({ module, run: run.id, plan }, 'refresh began');
  return { status: 'started', plan };
}

const costOf = ({ rows, pages, credits, shareOfDay }: ReadPlan): string => `${rows} rows in ${pages} pages take up to ${credits} credits${shareOfDay === null ? '' : `, ${(shareOfDay * 100).toFixed(1)} % of the day's`}`;
