import { publishClaims, restoreClaims } from '@lockstep/claims';
import type { ModuleDefinition } from '@lockstep/modules';

import type { LeaderDeps } from './leader.ts';

type RecallClaimsDeps = Pick<LeaderDeps, 'db' | 'kafka' | 'admin' | 'producer' | 'log'>;

/** Before a module's first round: a database that knows nothing of it learns from the log how far the CRM was read; one that knows something says so in the log. */
export async function recallClaims(deps: RecallClaimsDeps, module: ModuleDefinition): Promise<void> {
  const { log } = deps;
  const restored = await restoreClaims(deps, module);
  switch (restored.status) {
    case 'known':
      return await publishClaims(deps, module.apiName);
    case 'restored':
      return log.warn({ module: module.apiName, upTo: restored.upTo }, 'the database knew nothing of this module; by the log it was read up to then, and catch-ups go on from there');
    case 'incomplete':
      return log.warn({ module: module.apiName, reason: restored.problem }, 'the log claims more than it holds; the module is loaded again');
    case 'none':
  }
}
