import { publishClaims, restoreClaims } from '@lockstep/claims';
import type { ModuleDefinition } from '@lockstep/modules';
import { isReplaying } from '@lockstep/postgres';

import type { LeaderDeps } from './leader.ts';

type RecallClaimsDeps = Pick<LeaderDeps, 'db' | 'kafka' | 'admin' | 'producer' | 'log'>;

/**
 * Before a module's first round: a database that knows nothing of it learns from the log how far the CRM was read; one that knows something says so in the log.
 * @returns false while the register is still to be filled from the log, and nothing may be judged by it.
 */
export async function recallClaims(deps: RecallClaimsDeps, module: ModuleDefinition): Promise<boolean> {
  const { db, log } = deps;
  const restored = await restoreClaims(deps, module);
  if (restored.status === 'restored') log.warn({ module: module.apiName, upTo: restored.upTo }, 'the database knew nothing of this module; by the log it was read up to then, and catch-ups go on from there');
  if (restored.status === 'incomplete') log.warn({ module: module.apiName, reason: restored.problem }, 'the log claims more than it holds; the module is loaded again');
  if (restored.status === 'unreadable') log.warn({ module: module.apiName, reason: restored.problem }, 'the claims in the log cannot be read; the module is loaded again');
  if (await isReplaying(db, module.apiName)) return false;
  if (restored.status === 'known') await publishClaims(deps, module.apiName);
  return true;
}
