import { DEFAULT_EPSILON_MS, isAliveBy, type Version, versionTime } from '@lockstep/record-log';

/** What the register holds of a record, as far as it matters here. */
export type Known = {
  readonly modifiedMs: number | null;
  /** Where the record was repaired: the time its version competes with. */
  readonly versionMs?: number;
  readonly observedMs: number | null;
  readonly hash: string | null;
  readonly deletedMs: number | null;
};

/** What was read of a record, and not before when: the beginning of the call, or the creation of the bulk job. */
export type LookedAt = Pick<Version, 'modifiedMs' | 'hash'> & { readonly lowerMs: number };

/** How a look is to be written down; `versionMs` where it competes with another time than its own. */
export type Statement =
  | { readonly type: 'seen' }
  | { readonly type: 'confirmed'; readonly versionMs?: number }
  | { readonly type: 'repaired'; readonly versionMs: number };

/** A read that began so much later than another one sees no older state of the record: no read of the CRM lags that far behind. */
export const STALE_AT_MOST_MS = 10 * 60_000;

/**
 * How a look is to be written down. `confirmed` (60 bytes) where the register holds this very content; `seen` (all of it)
 * where it does not, or where the record counts as deleted: a confirmation has no content to bring its row back with; `repaired` where
 * it would lose against the register although it is certainly the later one.
 *
 * The register may lag behind the log. A confirmation that turns out not to fit is noticed by the projector, which then wants a look.
 */
export function statementOf(known: Known | undefined, look: LookedAt, epsilonMs = DEFAULT_EPSILON_MS): Statement {
  const versionMs = known?.versionMs;
  const isSame = known !== undefined && isAliveBy(known, epsilonMs) && known.modifiedMs === look.modifiedMs && known.hash === look.hash;
  if (isSame) return { type: 'confirmed', ...(versionMs === undefined ? {} : { versionMs }) };
  const repairMs = repairTime(known, look);
  return repairMs === null ? { type: 'seen' } : { type: 'repaired', versionMs: repairMs };
}

/*
 * A smaller Modified_Time than the register's means one of two things: the read was stale, or the time went backwards (an import
 * had set it to the future, or to the past). Where the register's look is older than any read can lag, it is the latter. And a
 * record that was repaired stays below its version's time for as long as that lies ahead: what its Modified_Time says from then
 * on is compared with what was read.
 */
function repairTime(known: Known | undefined, { modifiedMs, lowerMs }: LookedAt): number | null {
  if (known === undefined || known.modifiedMs === null || known.observedMs === null) return null;
  const registerMs = versionTime({ ...known, modifiedMs: known.modifiedMs });
  if (modifiedMs >= registerMs) return null;
  const isOnward = known.versionMs !== undefined && modifiedMs >= known.modifiedMs;
  return isOnward || lowerMs > known.observedMs + STALE_AT_MOST_MS ? registerMs : null;
}

/**
 * Whether this change came without a notification: the register is older, and a notification had time to come. The share of such
 * rows is a channel's health.
 */
export const isUnhinted = (known: Pick<Known, 'modifiedMs'> | undefined, look: Pick<Version, 'modifiedMs' | 'observedMs'>, patienceMs = 30_000): boolean =>
  (known?.modifiedMs ?? Number.NEGATIVE_INFINITY) < look.modifiedMs && look.observedMs - look.modifiedMs > patienceMs;
