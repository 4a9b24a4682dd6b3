import type { CrmClient, PageEnd, RecordPage } from '@lockstep/crm-client';
import { coverageOf, type ModuleDefinition } from '@lockstep/modules';
import type { CatchUpResult } from '@lockstep/postgres';

import { publishFound, type PublishFoundDeps } from '../publish-found.ts';
import { timeOf } from '../sighting.ts';

export type ReadWindowDeps = PublishFoundDeps & {
  readonly crm: Pick<CrmClient, 'changedSince'>;
  readonly signal: AbortSignal;
};

/** What a reading of a window came to. `isWhole` is false when there is more in it than queries are the right way for. */
export type WindowRead = Pick<CatchUpResult, 'rows' | 'seen' | 'unhinted'> & {
  readonly isWhole: boolean;
  /** Where it is not: every change before this time was read; null where that is not known. */
  readonly readUpTo: Date | null;
  /** Not later than the beginning of the first call, epoch milliseconds of the CRM. */
  readonly startedMs: number;
};

/** Beyond this a bulk read is cheaper: 50 credits for up to 200,000 rows against 3 for 2,000. */
const MAX_WINDOW_ROWS = 33_000;

/**
 * Reads every record changed since a time, in the order of (`Modified_Time`, id), and writes down what was seen. Returns once
 * Kafka has all of it.
 * @param reading names it in the log.
 */
export async function readWindow(deps: ReadWindowDeps, module: ModuleDefinition, from: Date, reading: string, maxRows = MAX_WINDOW_ROWS): Promise<WindowRead> {
  const { crm, signal } = deps;
  const fields = coverageOf(module).fields;
  let startedMs: number | undefined;
  let after: PageEnd | null = null;
  const total = { rows: 0, seen: 0, unhinted: 0 };
  for (;;) {
    signal.throwIfAborted();
    const page: RecordPage = await crm.changedSince({ module: module.apiName, fields, since: from, after, signal });
    startedMs ??= page.observed.lowerMs;
    const said = await publishFound(deps, module, 'catch-up', reading, page, signal);
    total.rows += page.records.length;
    total.seen += said.filter(({ isSeen }) => isSeen).length;
    total.unhinted += said.filter((one) => one.isUnhinted).length;
    const last = page.records.at(-1);
    if (!page.hasMore || last === undefined) return { ...total, startedMs, isWhole: true, readUpTo: null };
    if (total.rows >= maxRows) return { ...total, startedMs, isWhole: false, readUpTo: dateOf(last.modifiedTime) };
    after = { modifiedTime: last.modifiedTime, id: last.id };
  }
}

/** Rows come in the order of their modified times, so all that were modified before the last one have come. */
function dateOf(modifiedTime: string): Date | null {
  const ms = timeOf(modifiedTime);
  return ms === null ? null : new Date(ms);
}
