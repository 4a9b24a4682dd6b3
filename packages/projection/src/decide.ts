import { isAliveBy } from '@lockstep/record-log';

import type { FoldedRecord } from './fold-batch.ts';

/** A record's register as the merge left it, and whether the batch's content is what now stands in it. */
export type Merged = {
  readonly record: FoldedRecord;
  readonly contentWon: boolean;
  readonly isFresh: boolean;
  readonly observedMs: number | null;
  readonly deletedMs: number | null;
};

/** What the legacy table owes a merged register: the row is a function of the register alone. */
export type Decision = {
  /** Records whose content is written, with the deletion mark it carries (epoch milliseconds), or null for the living. */
  readonly winners: readonly { readonly record: FoldedRecord; readonly deletedMs: number | null }[];
  /** Records that are dead and whose content stands already (or has no row to stand in). */
  readonly dead: readonly { readonly id: string; readonly deletedMs: number }[];
  /** Whether every winner is new to the register and alive: then rows may go straight into the table. */
  readonly allFresh: boolean;
};

/**
 * Decides what is written.
 * @param keepsDeleted whether the module marks its deleted rows; else a dead record has no row.
 */
export function decide(merged: readonly Merged[], { keepsDeleted, epsilonMs }: { keepsDeleted: boolean; epsilonMs: number }): Decision {
  const winners: { record: FoldedRecord; deletedMs: number | null }[] = [];
  const dead: { id: string; deletedMs: number }[] = [];
  let allFresh = true;
  for (const one of merged) {
    const { record, contentWon, isFresh, deletedMs } = one;
    const isDead = deletedMs !== null && !isAliveBy(one, epsilonMs);
    if (contentWon && (keepsDeleted || !isDead)) {
      winners.push({ record, deletedMs: isDead ? deletedMs : null });
      if (!isFresh) allFresh = false;
    } else if (isDead) {
      dead.push({ id: record.id, deletedMs });
    }
  }
  return { winners, dead, allFresh };
}

/** Records whose content won the register, whether it is written or not. */
export const wonOf = (merged: readonly Merged[]): FoldedRecord[] => merged.filter(({ contentWon }) => contentWon).map(({ record }) => record);

/** The CRM's `deleted_time` again, from the upper bound that the register keeps. */
export const deletedTime = (deletedMs: number): string => new Date(deletedMs - 999).toISOString();
