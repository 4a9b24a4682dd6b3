import type { Version } from '@lockstep/record-log';

/** What the register holds of a record, as far as it matters here. */
export type Known = { readonly modifiedMs: number | null; readonly hash: string | null; readonly deletedMs: number | null };

/**
 * How a look is to be written down. `confirmed` (60 bytes) where the register holds this very content; `seen` (all of it)
 * where it does not, or where the record is known as deleted: its row may have to be written anew.
 *
 * The register may lag behind the log. A confirmation that turns out not to fit is noticed by the projector, which then wants a look.
 */
export function statementOf(known: Known | undefined, look: Pick<Version, 'modifiedMs' | 'hash'>): 'seen' | 'confirmed' {
  const isSame = known !== undefined && known.deletedMs === null && known.modifiedMs === look.modifiedMs && known.hash === look.hash;
  return isSame ? 'confirmed' : 'seen';
}

/**
 * Whether nobody had told us of this change: the register is older, and a notification had time to come. The share of such
 * rows is a channel's health.
 */
export const isUnhinted = (known: Known | undefined, look: Pick<Version, 'modifiedMs' | 'observedMs'>, patienceMs = 30_000): boolean =>
  (known?.modifiedMs ?? Number.NEGATIVE_INFINITY) < look.modifiedMs && look.observedMs - look.modifiedMs > patienceMs;
