import { type Admin, KafkaError, type Producer } from '@lockstep/kafka';
import { topics } from '@lockstep/modules';
import { claimedModules, type Database, readStandingClaims, type Watermarks } from '@lockstep/postgres';

import { encodeClaims } from './claims-message.ts';
import { ensureClaimsTopic } from './claims-topic.ts';

export type ClaimLogDeps = { readonly db: Pick<Database, 'pool'>; readonly producer: Pick<Producer, 'send'>; readonly admin: Pick<Admin, 'ensureTopics'> };

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

/**
 * Appends what stands claimed of a module. A topic that someone has deleted is created again, and gets what stands of every module: one whose claims do not move would
 * be missing in it.
 * @throws {KafkaError} when the log does not take it.
 */
export async function publishClaims(deps: ClaimLogDeps, module: string): Promise<void> {
  try {
    await append(deps, [module]);
  } catch (error) {
    if (!(error instanceof KafkaError) || error.code !== 'TOPIC_MISSING') throw error;
    await ensureClaimsTopic(deps.admin);
    await append(deps, [...new Set([module, ...(await claimedModules(deps.db))])]);
  }
}

async function append({ db, producer }: ClaimLogDeps, modules: readonly string[]): Promise<void> {
  const messages: { key: string; value: string }[] = [];
  for (const module of modules) messages.push({ key: module, value: encodeClaims(module, await readStandingClaims(db, module)) });
  await producer.send(topics.claims, messages);
}
