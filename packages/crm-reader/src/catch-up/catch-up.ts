import type { ModuleDefinition } from '@lockstep/modules';
import type { CatchUpRow, CatchUps, DeletionBreaker, RegisterReader } from '@lockstep/postgres';
import { crashPoint, type Logger } from '@lockstep/telemetry';

import { type DeletedListDeps, type DeletedListRead, readDeletedList } from '../deleted-list.ts';
import { readWindow, type ReadWindowDeps } from './read-window.ts';
import { scanDeletions } from './scan-deletions.ts';

export type CatchUpDeps = ReadWindowDeps &
  Omit<DeletedListDeps, 'crm' | 'register' | 'breaker'> & {
    readonly crm: DeletedListDeps['crm'] & ReadWindowDeps['crm'];
    readonly register: DeletedListDeps['register'] & Pick<RegisterReader, 'doubtful' | 'oldestDoubt' | 'deleted'>;
    readonly breaker: Pick<DeletionBreaker, 'admits' | 'passed'>;
    readonly catchUps: Pick<CatchUps, 'open' | 'read' | 'tooLarge' | 'scanned' | 'failed'>;
    readonly modules: readonly ModuleDefinition[];
    readonly log: Logger;
    readonly signal: AbortSignal;
  };

/**
 * Reads the catch-ups that the scheduler planned, one after another. One that fails is planned again from the same watermark, so
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
  const reading = `catch-up ${catchUp.id}`;
  try {
    const { isWhole, startedMs, readUpTo, ...window } = await readWindow(deps, module, catchUp.from, reading);
    // Afterwards, so that what was deleted before the window's first call is listed by now.
    const deletions = await readDeletions(deps, module, await reachingDoubts(deps, catchUp, startedMs), reading);
    if (deletions.isHeld) return await catchUps.failed(catchUp.id, 'deletions are held until a person releases them');
    const result = { ...window, deleted: deletions.published };
    crashPoint('window-published');
    if (isWhole) await catchUps.read(catchUp.id, new Date(startedMs), result);
    else await catchUps.tooLarge(catchUp.id, new Date(startedMs), result, readUpTo);
    log.info({ module: module.apiName, from: catchUp.from, ...result, isWhole }, 'caught up');
    if (await isScanned(deps, module, catchUp, startedMs)) await deps.breaker.passed(module.apiName);
  } catch (error) {
    if (signal.aborted) throw error;
    log.warn({ err: error, module: module.apiName, from: catchUp.from }, 'a catch-up failed and will be planned again');
    // One that was read stays so.
    await catchUps.failed(catchUp.id, error instanceof Error ? error.message : String(error));
  }
}

/** Only now: what was read counts, whatever the list of long ago does. @returns false where a scan is held, or could not be read at all. */
async function isScanned(deps: CatchUpDeps, module: ModuleDefinition, { id, scanFrom }: CatchUpRow, nowMs: number): Promise<boolean> {
  if (scanFrom === null) return true;
  return await scanDeletions(deps, module, { id, from: scanFrom, nowMs }, (since) => readDeletions(deps, module, since, `scan ${id}`));
}

async function readDeletions(deps: CatchUpDeps, module: ModuleDefinition, since: Date, reading: string): Promise<DeletedListRead> {
  const deletions = await readDeletedList(deps, module, since, { name: reading, purpose: 'catch-up' });
  if (deletions.isHeld) return deletions;
  await wantDoubtful(deps, module, since, deletions.ascertained);
  await wantUnlisted(deps, module, since, deletions.listed);
  return deletions;
}

/**
 * How far back a catch-up reads the deleted list for deletions in doubt, and the hourly one. A doubt that the list cannot end (the record was
 * restored, and no one can see it) may not cost more than that; what is older is the daily restore scan's.
 */
const REACH_MS = { usual: 90 * 60_000, secondPass: 24 * 3_600_000 };

/** Where the reading of the deleted list begins: early enough to meet deletions in doubt, which only the list can end. */
async function reachingDoubts({ register, epsilonMs }: CatchUpDeps, { module, deletedFrom, isSecondPass }: CatchUpRow, startedMs: number): Promise<Date> {
  const since = new Date(startedMs - (isSecondPass ? REACH_MS.secondPass : REACH_MS.usual));
  const oldest = await register.oldestDoubt(module, since, epsilonMs);
  // The register has the end of the whole second that the list compares.
  return oldest === null ? deletedFrom : new Date(Math.min(deletedFrom.getTime(), oldest.getTime() - 2_000));
}

/** A record looked at within seconds of its deletion may have been restored since: a later look can show it, or the list that still names it. */
async function wantDoubtful({ register, looks, epsilonMs }: CatchUpDeps, { apiName }: ModuleDefinition, since: Date, ascertained: ReadonlySet<string>): Promise<void> {
  const doubtful = await register.doubtful(apiName, new Date(since.getTime() - epsilonMs), epsilonMs);
  await looks.want(apiName, doubtful.filter((id) => !ascertained.has(id)), 'doubtful');
}

/** What is deleted as far as we know, but is on the list no more, has been restored; there need not have been a notification. */
async function wantUnlisted({ register, looks }: CatchUpDeps, { apiName }: ModuleDefinition, since: Date, listed: ReadonlySet<string>): Promise<void> {
  // A second more: the list is cut to whole seconds, and the register has their end.
  const deleted = await register.deleted(apiName, new Date(since.getTime() + 2_000));
  await looks.want(apiName, deleted.filter((id) => !listed.has(id)), 'unlisted');
}
