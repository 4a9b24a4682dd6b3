import { type IdSpan, type Seam, seamsOf } from '@lockstep/completeness';
import type { CrmClient, RecordPage } from '@lockstep/crm-client';
import { coverageOf, type ModuleDefinition } from '@lockstep/modules';
import type { BulkPageRow, BulkRuns } from '@lockstep/postgres';

import { publishFound, type PublishFoundDeps } from '../publish-found.ts';

export type CloseSeamsDeps = PublishFoundDeps & {
  readonly crm: Pick<CrmClient, 'recordsBetween'>;
  readonly runs: Pick<BulkRuns, 'pagesOf' | 'runOf'>;
};

/**
 * Reads what may have moved out of a page and its neighbours while they were read; nearly always that is nothing.
 * @param ids of the page's rows, which are published; null when it has none.
 * @returns records found, once Kafka has all of them.
 */
export async function closeSeams(deps: CloseSeamsDeps, module: ModuleDefinition, page: BulkPageRow, ids: IdSpan | null, signal: AbortSignal): Promise<number> {
  const isSingle = page.pageNumber === 1 && page.moreRecords === false;
  if (isSingle) return 0;
  const read = (await deps.runs.pagesOf(page.runId)).filter(({ id, state }) => state === 'published' && id !== page.id);
  const seams = seamsOf({ pageNumber: page.pageNumber, ids }, read.map(({ pageNumber, firstId, lastId }) => ({ pageNumber, ids: spanOf(firstId, lastId) })));
  const since = seams.length === 0 ? null : ((await deps.runs.runOf(page)).fromTime ?? null);
  let found = 0;
  for (const seam of seams) found += await readSeam(deps, module, { ...seam, since, reading: `run ${page.runId}, seam of page ${page.pageNumber}` }, signal);
  return found;
}

const spanOf = (first: string | null | undefined, last: string | null | undefined): IdSpan | null => (typeof first === 'string' && typeof last === 'string' ? { first, last } : null);

async function readSeam(deps: CloseSeamsDeps, module: ModuleDefinition, { afterId, beforeId, since, reading }: Seam & { since: Date | null; reading: string }, signal: AbortSignal): Promise<number> {
  const fields = coverageOf(module).fields;
  let [from, found] = [afterId, 0];
  for (;;) {
    signal.throwIfAborted();
    const page: RecordPage = await deps.crm.recordsBetween({ module: module.apiName, fields, afterId: from, beforeId, since, signal });
    await publishFound(deps, module, 'bulk', reading, page, signal);
    found += page.records.length;
    const last = page.records.at(-1);
    if (!page.hasMore || last === undefined) return found;
    from = last.id;
  }
}
