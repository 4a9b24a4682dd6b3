import type { ModuleDefinition } from '@lockstep/modules';
import type { CatchUpRow, CatchUps, DeletionBreaker, RegisterReader } from '@lockstep/postgres';
import { crashPoint, type Logger } from '@lockstep/telemetry';

import { type DeletedListDeps, readDeletedList } from '../deleted-list.ts';
import { readWindow, type ReadWindowDeps } from './read-window.ts';

export type CatchUpDeps = ReadWindowDeps &
  Omit<DeletedListDeps, 'crm' | 'register' | 'breaker'> & {
    readonly crm: DeletedListDeps['crm'] & ReadWindowDeps['crm'];
    readonly register: DeletedListDeps['register'] & Pick<RegisterReader, 'doubtful' | 'deleted'>;
    readonly breaker: Pick<DeletionBreaker, 'admits' | 'passed'>;
    readonly catchUps: Pick<CatchUps, 'open' | 'read' | 'tooLarge' | 'failed'>;
    readonly modules: readonly ModuleDefinition[];
    readonly epsilonMs: number;
    readonly log: Logger;
    readonly signal: AbortSignal;
  };

/**
 * Reads the catch-ups that the scheduler planned, one after another. One that fails is planned anew from the same watermark, so
 * nothing depends on its having been tried.
 * @returns true when there was anything to do.
 */
export async function readCatchUps(deps: CatchUpDeps): Promise<boolean> {
  const wanted = (await deps.catchUps.open()).filter(({ state, module }) => state === 'wanted' && deps.modules.some(({ apiName }) => apiName === module));
  for (const catchUp of wanted) {
    deps.signal.throwIfAborted();
    await readOne(deps, catchUp);
  }
  return wanted.length > 0;
}

async function readOne(deps: CatchUpDeps, catchUp: CatchUpRow): Promise<void> {
  const { catchUps, log, modules, signal } = deps;
  const module = modules.find(({ apiName }) => apiName === catchUp.module) as ModuleDefinition;
  try {
    const { isWhole, startedMs, ...window } = await readWindow(deps, module, catchUp.from);
    // Afterwards, so that what was deleted before the window's first call is listed by now.
    const deletions = await readDeletedList(deps, module, catchUp.deletedFrom);
    if (deletions.isHeld) return await catchUps.failed(catchUp.id, 'deletions are held until a person releases them');
    await deps.breaker.passed(module.apiName);
    await wantDoubtful(deps, module, catchUp.deletedFrom);
    await wantUnlisted(deps, module, catchUp.deletedFrom, deletions.listed);
    const result = { ...window, deleted: deletions.published };
    crashPoint('window-published');
    if (isWhole) await catchUps.read(catchUp.id, new Date(startedMs), result);
    else await catchUps.tooLarge(catchUp.id, new Date(startedMs), result);
    log.info({ module: module.apiName, from: catchUp.from, ...result, isWhole }, 'caught up');
  } catch (error) {
    if (signal.aborted) throw error;
    log.warn({ err: error, module: module.apiName, from: catchUp.from }, 'a catch-up failed and will be planned anew');
    await catchUps.failed(catchUp.id, error instanceof Error ? error.message : String(error));
  }
}

/** A record looked at within seconds of its deletion may have been restored since: only a later look can tell. */
async function wantDoubtful({ register, looks, epsilonMs }: CatchUpDeps, { apiName }: ModuleDefinition, since: Date): Promise<void> {
  await looks.want(apiName, await register.doubtful(apiName, new Date(since.getTime() - epsilonMs), epsilonMs), 'doubtful');
}

/** What is deleted as far as we know, but is on the list no more, has been restored; no notification need have told of it. */
async function wantUnlisted({ register, looks }: CatchUpDeps, { apiName }: ModuleDefinition, since: Date, listed: ReadonlySet<string>): Promise<void> {
  // A second more: the list is cut to whole seconds, and the register has their end.
  const deleted = await register.deleted(apiName, new Date(since.getTime() + 2_000));
  await looks.want(apiName, deleted.filter((id) => !listed.has(id)), 'unlisted');
}
