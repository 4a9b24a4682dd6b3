import type { Producer } from '@lockstep/kafka';
import { topics } from '@lockstep/modules';
import { type Database, readStandingClaims, type Watermarks } from '@lockstep/postgres';

import { encodeClaims } from './claims-message.ts';

export type ClaimLogDeps = { readonly db: Pick<Database, 'pool'>; readonly producer: Pick<Producer, 'send'> };

/**
 * Watermarks whose every change is appended to the log as well, so that a database that was lost comes back knowing how complete it is. A crash between the two
 * leaves an older claim in the log, which says less, and nothing false.
 * @throws {KafkaError} when the log does not take it; the claim is noted then.
 */
export const loggedWatermarks = (inner: Watermarks, deps: ClaimLogDeps): Watermarks => ({
  ...inner,
  note: async (claim) => {
    await inner.note(claim);
    await publishClaims(deps, claim.module);
  },
  withdrawFuture: async (module, now, toleranceMs) => {
    const withdrawn = await inner.withdrawFuture(module, now, toleranceMs);
    if (withdrawn.length > 0) await publishClaims(deps, module);
    return withdrawn;
  },
});

/** Appends what stands claimed of a module. */
export async function publishClaims({ db, producer }: ClaimLogDeps, module: string): Promise<void> {
  await producer.send(topics.claims, [{ key: module, value: encodeClaims(module, await readStandingClaims(db, module)) }]);
}
