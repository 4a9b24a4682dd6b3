import { CrmError } from '@lockstep/crm-client';
import type { ModuleDefinition } from '@lockstep/modules';
import type { CatchUps } from '@lockstep/postgres';
import type { Logger } from '@lockstep/telemetry';

export type ScanDeps = { readonly catchUps: Pick<CatchUps, 'scanned'>; readonly log: Logger };

/** Reads the list of deletions since a time, and does what follows from it. @returns whether its deletions are held. */
export type ReadList = (since: Date) => Promise<{ readonly isHeld: boolean }>;

/** A list that fails is read again over this share of its depth. */
const SHALLOWER = 4;
const LEAST_DEPTH_MS = 6 * 3_600_000;

/**
 * Scans the list of deletions for restores: over its whole depth, or, where it cannot be read to its end, as deep as it can. The list has no upper bound, so what is
 * read in smaller windows is its younger part. How deep it came is noted; the catch-up it follows does not depend on it.
 * @param scan the catch-up it belongs to, how far back it is to go, and where it begins.
 * @returns whether it was read, however deep, and nothing of it is held.
 */
export async function scanDeletions({ catchUps, log }: ScanDeps, { apiName }: ModuleDefinition, scan: { readonly id: number; readonly from: Date; readonly nowMs: number }, read: ReadList): Promise<boolean> {
  let failure: string | null = null;
  for (let depthMs = scan.nowMs - scan.from.getTime(); depthMs >= LEAST_DEPTH_MS || failure === null; depthMs /= SHALLOWER) {
    const since = new Date(Math.floor((scan.nowMs - depthMs) / 1000) * 1000);
    try {
      const { isHeld } = await read(since);
      await catchUps.scanned(scan.id, isHeld ? null : since, isHeld ? 'deletions are held until a person releases them' : failure);
      return !isHeld;
    } catch (error) {
      if (!(error instanceof CrmError)) throw error;
      log.warn({ err: error, module: apiName, since }, 'the list of deletions cannot be read this far back');
      failure = error.message;
    }
  }
  await catchUps.scanned(scan.id, null, failure);
  return false;
}
